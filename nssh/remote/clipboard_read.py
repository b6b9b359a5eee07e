"""Ask the laptop for its clipboard, and wait for the answer.

A subscription is sure to bring only what is published after its `open` event. On the relay, which is on this machine,
the request is published after that event. On an ntfy server this would cost a round trip: there the request is
published at the same time, on a second connection, and an answer that came before the `open` is found by polling. ntfy
delivers a message before it stores it (docs/ntfy.md, trap 1). So a quick answer may be stored before its own request:
the poll asks by the time of the request, not by its id. And a poll may be too early, so it is repeated.
"""

from __future__ import annotations

from time import monotonic, sleep

from nssh.remote.bus import RETRY, described, event, refusal, render, retry_after, start_relay
from nssh.remote.failure import Failure, printable
from nssh.remote.payload import Payload, describe
from nssh.wire import CONTENT_LIMIT
from nssh.wire import envelope as wire
from nssh.wire.http import Closed, HttpError, StatusError, Timeout, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nssh.remote.bus import Bus
    from nssh.wire.http import Client, Response
    from nssh.wire.line_stream import LineStream

    _Found = tuple[wire.Envelope, dict[str, Any] | None]

# Seconds from a message until its file can be fetched.
_FILE_DELAY = 2.0
# Seconds after the `open` at which an answer is polled for; on a fast link it has come along the stream by then.
_POLLS = (0.25, 1.0, 3.0)
_POLL_LIMIT = 16 << 20
# Seconds after a login within which its laptop may still subscribe: its bridge starts at the same time as we.
_ARRIVAL = 2.0
# Asks for a list of types, which is answered as text.
_TARGETS = "TARGETS"
_NO_LAPTOP = "no laptop is connected to this host; connect with `nssh <host>`, or wait for it to come back"
_NO_ANSWER = "the laptop did not answer within %g s"


class AskAgain(Exception):  # noqa: N818 (no error for the user)
    """The request may not have arrived, or the server wants it later: it is to be asked anew."""


class ClipboardRead:
    """One read of the laptop's clipboard.

    Args:
        bus: The session's bus.
        mime: The type that is asked for.
        timeout: Seconds of silence after which the read fails; a laptop that prepares an answer sends notices.
    """

    def __init__(self, bus: Bus, mime: str, timeout: float) -> None:
        self._bus = bus
        self._mime = mime
        self._timeout = timeout
        self._end = monotonic() + timeout
        self._id = ""
        self._alone = False

    def ask(self) -> tuple[str, Payload]:
        """Ask, and return the content with the type that the laptop tells.

        Raises:
            Failure: There is no laptop, no answer, or the answer is an error.
            BrokenPipeError: The reader of our output has gone.
        """
        attempts = [self._ask, self._ask] if self._bus.is_relay else [self._ask_beside, self._ask, self._ask]
        for number, attempt in enumerate(attempts, 1):
            # A new id for each attempt: the laptop ignores an id that it knows.
            self._id = wire.new_id()
            try:
                return attempt(wire.Envelope(wire.KIND_CLIP_READ_REQUEST, mime=self._mime, id=self._id))
            except (Closed, AskAgain) as error:
                # The server ended between request and answer, and the answer may be lost.
                if number == len(attempts) or monotonic() >= self._end:
                    raise Failure(str(error)) from None
            except Timeout:
                if self._alone:
                    raise self._nobody() from None
                self._bus.events.add("clip-read-timeout", mime=self._mime, id=self._id)
                raise Failure(_NO_ANSWER % self._timeout) from None
            except HttpError as error:
                self._bus.events.add("clip-read-error", mime=self._mime, id=self._id, err=str(error))
                raise Failure(str(error)) from None
        raise AssertionError("not reached")

    @property
    def _path(self) -> str:
        return "/%s/json" % self._bus.session.topic

    def _ask(self, message: wire.Envelope) -> tuple[str, Payload]:
        """Subscribe, and publish the request when the subscription is open."""
        stream = self._subscribe(min(self._timeout, RETRY))
        try:
            self._await_open(stream)
            subscribers = self._bus.publish(message, end=self._end)
            if subscribers is not None and subscribers <= 1:  # this stream is one of them
                self._expect_laptop()
            self._bus.events.flush()
            return self._await_answer(stream, "")
        finally:
            stream.close()

    def _expect_laptop(self) -> None:
        """Limit the wait to the time in which a laptop that has just logged in may still subscribe. Raises Failure."""
        from nssh.remote import login_age

        left = _ARRIVAL - login_age.age()
        if left <= 0:
            raise self._nobody()
        self._alone = True
        self._end = min(self._end, monotonic() + left)

    def _nobody(self) -> Failure:
        self._bus.events.add("clip-read-error", mime=self._mime, id=self._id, err="no subscriber")
        return Failure(_NO_LAPTOP)

    def _ask_beside(self, message: wire.Envelope) -> tuple[str, Payload]:
        """Subscribe and publish the request at the same time. Raises AskAgain if anything goes wrong."""
        publisher = self._bus.publisher
        method, headers, body = render(message)
        subscriber = self._bus.client(min(self._timeout, RETRY))
        connected = _connect_beside(publisher)
        try:
            try:
                subscriber.send("GET", self._path, deadline=self._end)
                connected.acquire(timeout=max(0.0, self._end - monotonic()))
                publisher.send(method, "/" + self._bus.session.topic, headers, body, deadline=self._end)
                stream = subscriber.receive_stream()
                self._await_open(stream)
                answer = publisher.receive(deadline=self._end)
            except HttpError as error:
                raise AskAgain(str(error)) from None
            asked = self._accepted(answer)
            self._bus.events.add("msg-send", **described(message, 0))
            self._bus.events.flush()
            return self._await_answer(stream, asked)
        except AskAgain:
            publisher.close()
            raise
        finally:
            subscriber.close()

    def _accepted(self, answer: Response) -> str:
        """Return what polls ask from, the request's time. Raises AskAgain or Failure if it was refused."""
        if answer.status != 200:
            reason, final = refusal(answer, self._bus.session.server, 0)
            if not final:
                raise AskAgain(reason)
            self._bus.events.add("publish-failed", kind=wire.KIND_CLIP_READ_REQUEST, id=self._id, err=reason)
            raise Failure(reason)
        asked = event(answer.body).get("time")
        # To ntfy, 0 is all and 1 is none.
        return "%d" % asked if isinstance(asked, int) and 1 < asked < 1 << 40 else "all"

    def _subscribe(self, timeout: float) -> LineStream:
        started = False
        pause = 0.1
        while True:
            try:
                return self._bus.client(timeout).stream(self._path)
            except StatusError as error:
                reason, final = refusal(error.response, self._bus.session.server, 0)
                pause = max(pause, retry_after(error.response))
            except Unreachable as error:
                reason, final = str(error), False
                if self._bus.is_relay and not started:
                    started = True
                    start_relay(self._bus.session.server)
                    continue
            if final or monotonic() + pause > self._end:
                raise Failure(reason) from None
            sleep(pause)
            pause *= 2

    def _await_open(self, stream: LineStream) -> None:
        while _next(stream, self._end).get("event") != "open":
            pass

    def _await_answer(self, stream: LineStream, asked: str) -> tuple[str, Payload]:
        """Read the stream up to the answer; also poll from the time `asked` on, unless it is empty."""
        polls = [monotonic() + seconds for seconds in _POLLS] if asked else []
        while True:
            try:
                found = self._answer(_next(stream, min([self._end, *polls[:1]])))
            except Timeout:
                if not polls or polls[0] >= self._end:
                    raise
                del polls[0]
                found = self._poll(asked)
            if found is not None:
                return self._accept(*found)

    def _poll(self, asked: str) -> _Found | None:
        """Return the answer if it is among the messages since `asked`."""
        try:
            path = "%s?poll=1&since=%s" % (self._path, asked)
            answer = self._bus.publisher.request("GET", path, limit=_POLL_LIMIT, deadline=self._end)
        except HttpError:
            return None  # the next poll or the stream may bring it
        for line in answer.body.split(b"\n") if answer.status == 200 else ():
            if self._id.encode() in line or b'"attachment"' in line:
                found = self._answer(event(line), quiet=True)
                if found is not None:
                    return found
        return None

    def _answer(self, heard: dict[str, Any], *, quiet: bool = False) -> _Found | None:
        """Return envelope and attachment of an event if it is the answer; a notice to wait moves the deadline."""
        text = heard.get("message")
        if heard.get("event") != "message" or not isinstance(text, str):
            return None
        try:
            answer = wire.decode(text)
        except wire.EnvelopeError:
            answer = None
        attachment = heard.get("attachment")
        file = attachment if isinstance(attachment, dict) else None
        if answer is None and file is not None and str(file.get("name")).startswith("attachment."):
            # The envelope was too long for a message: ntfy turned it into an attachment (docs/ntfy.md, trap 5).
            try:
                envelope = Payload(1 << 16)
                self._download(file, envelope)
                answer = wire.decode(envelope.head(1 << 16).decode("utf-8", "replace"))
            except (wire.EnvelopeError, Failure):
                answer = None
            file = None
        if answer is None:
            if not quiet:
                self._bus.events.add("msg-unknown", size=len(text))
            return None
        if answer.id != self._id or answer.mime == _TARGETS:
            return None  # a Go program that has joined answers with its text to whatever is asked; ours answers, too
        if answer.kind == wire.KIND_CLIP_READ_PENDING:
            self._end = monotonic() + self._timeout
        return (answer, file) if answer.kind == wire.KIND_CLIP_READ_RESPONSE else None

    def _accept(self, answer: wire.Envelope, file: dict[str, Any] | None) -> tuple[str, Payload]:
        content = Payload(CONTENT_LIMIT, "the laptop's clipboard")
        if file is not None:
            self._download(file, content)
        else:
            content.write(answer.body)
        self._bus.events.add("msg-recv", **described(answer, content.size))
        head = content.head(1024)
        if head.startswith(b"ERROR: "):
            reason = printable(head[7:].decode("utf-8", "replace"))
            self._bus.events.add("clip-read-error", mime=self._mime, id=self._id, err="the laptop's answer is an error")
            raise Failure(reason or "the laptop could not read its clipboard")
        if not content.size:
            self._bus.events.add("clip-read-empty", mime=self._mime, id=self._id)
        return answer.mime, content

    def _download(self, attachment: dict[str, Any], into: Payload) -> None:
        """Fetch a file from our own server, whatever host its URL names."""
        url = attachment.get("url")
        name = url.rpartition("/file/")[2] if isinstance(url, str) else ""
        size = attachment.get("size")
        if not name or len(name) > 100 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
            raise Failure("the bus names a file that can't be fetched")
        if isinstance(size, int) and size > into.limit:
            raise Failure("the laptop's clipboard holds %s; %s can be sent" % (describe(size), describe(into.limit)))
        client = self._bus.client()
        give_up = monotonic() + _FILE_DELAY
        pause = 0.01
        write = _watching(into)
        while True:
            try:
                answer = client.download("/file/" + name, write, into.limit)
                if answer.status == 200:
                    return
                reason = "status %d" % answer.status
                final = answer.status != 404
            except HttpError as error:
                reason = str(error)
                final = not isinstance(error, Closed)
            # ntfy delivers a message before its file can be fetched: until then a 404, with the length of the file.
            if final or monotonic() + pause > give_up:
                raise Failure("the clipboard's content can't be fetched: " + reason)
            into.clear()
            sleep(pause)
            pause *= 2


def _next(stream: LineStream, end: float) -> dict[str, Any]:
    line = stream.line(end)
    if line is None:
        raise Closed("the server ended the subscription")
    return event(line)


def _watching(into: Payload) -> Any:
    """Return a `write` that checks after each MiB whether our output still has a reader. Raises BrokenPipeError."""

    def write(piece: bytes) -> None:
        before = into.size >> 20
        into.write(piece)
        if into.size >> 20 != before:
            _check_reader()

    return write


def _check_reader() -> None:
    from select import POLLERR, poll

    poller = poll()
    poller.register(1, 0)  # POLLERR is always reported: here a pipe without a reader
    if any(happened & POLLERR for _, happened in poller.poll(0)):
        raise BrokenPipeError


def _connect_beside(client: Client) -> Any:
    """Connect on a thread of its own; the returned lock is released when that has ended."""
    import _thread

    done = _thread.allocate_lock()
    done.acquire()

    def connect() -> None:
        try:
            client.connect()
        except OSError:
            pass  # the request that follows meets the error again
        finally:
            done.release()

    _thread.start_new_thread(connect, ())
    return done
