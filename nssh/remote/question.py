"""Asking the laptop for its clipboard, and getting the answer, whatever the server does in between.

Only what is published after a subscription's `open` is sure to come along it. The relay is next door, so there the
question follows the `open`. On an ntfy server that would cost a round trip: there the question goes out beside the
subscription, on a second connection, and what may have been answered before the `open` is polled for afterwards, from
the question's own id on. A poll may come too early, too, because ntfy delivers a message before it stores it
(docs/ntfy.md, trap 1), so it is repeated while nothing has come.
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
    from nssh.wire.stream import LineStream

    _Found = tuple[wire.Envelope, dict[str, Any] | None]

# Seconds that a server may take from telling of a file to having it.
_FILE_DELAY = 2.0
# Seconds after the `open` at which an answer that has not come is looked for. It comes sooner on all but slow links.
_POLLS = (0.25, 1.0, 3.0)
_POLL_LIMIT = 16 << 20
# Seconds after a login in which a laptop that is not there yet may still come: its bridge starts beside ours.
_ARRIVAL = 2.0
_NO_LAPTOP = "no laptop is connected to this host; connect with `nssh <host>`, or wait for it to come back"
_NO_ANSWER = "the laptop did not answer within %g s"


class Unclear(Exception):  # noqa: N818 (no error for the user: it is asked anew)
    """Whether the question arrived is not known, or the server wants to be asked later."""


class Question:
    """One read of the laptop's clipboard.

    Args:
        bus: The session's.
        mime: What is asked for.
        timeout: Seconds of silence after which there is no answer; a laptop that is sending says so in between.
    """

    def __init__(self, bus: Bus, mime: str, timeout: float) -> None:
        self._bus = bus
        self._mime = mime
        self._timeout = timeout
        self._end = monotonic() + timeout
        self._id = ""
        self._alone = False

    def ask(self) -> tuple[str, Payload]:
        """Return the type that the laptop says it is, and the content.

        Raises:
            Failure: There is no laptop, no answer, or the laptop's answer is an error.
            BrokenPipeError: Whoever wanted the content has gone.
        """
        attempts = [self._ask, self._ask] if self._bus.is_relay else [self._ask_beside, self._ask, self._ask]
        for number, attempt in enumerate(attempts, 1):
            # A new id each time: the laptop drops what it has had before.
            self._id = wire.new_id()
            try:
                return attempt(wire.Envelope(wire.KIND_CLIP_READ_REQUEST, mime=self._mime, id=self._id))
            except (Closed, Unclear) as error:
                # The server went away between question and answer, and the answer with it: ask anew.
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
        """Subscribe, and ask when that is open."""
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
        """Wait no longer than for a laptop that has just logged in, and has run us at once: it finds the question."""
        from nssh.remote import login

        left = _ARRIVAL - login.age()
        if left <= 0:
            raise self._nobody()
        self._alone = True
        self._end = min(self._end, monotonic() + left)

    def _nobody(self) -> Failure:
        self._bus.events.add("clip-read-error", mime=self._mime, id=self._id, err="no subscriber")
        return Failure(_NO_LAPTOP)

    def _ask_beside(self, message: wire.Envelope) -> tuple[str, Payload]:
        """Subscribe and ask at the same time; for anything out of the ordinary there is `_ask`."""
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
                raise Unclear(str(error)) from None
            asked = self._accepted(answer)
            self._bus.events.add("msg-send", **described(message, 0))
            self._bus.events.flush()
            return self._await_answer(stream, asked)
        except Unclear:
            publisher.close()
            raise
        finally:
            subscriber.close()

    def _accepted(self, answer: Response) -> str:
        """Return the id of the message that a publish made, to poll from. Raises Unclear or Failure: it made none."""
        if answer.status != 200:
            reason, final = refusal(answer, self._bus.session.server, 0)
            if not final:
                raise Unclear(reason)
            self._bus.events.add("publish-failed", kind=wire.KIND_CLIP_READ_REQUEST, id=self._id, err=reason)
            raise Failure(reason)
        asked = event(answer.body).get("id")
        usable = isinstance(asked, str) and asked.isascii() and asked.isalnum() and len(asked) < 40
        return str(asked) if usable else "all"

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
        """Read the stream up to the answer; poll from the message `asked` on, unless that is empty."""
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
        """Look for the answer among what was published since; an unknown id brings everything there is."""
        try:
            path = "%s?poll=1&since=%s" % (self._path, asked)
            answer = self._bus.publisher.request("GET", path, limit=_POLL_LIMIT, deadline=self._end)
        except HttpError:
            return None  # the next one, or the stream
        for line in answer.body.split(b"\n") if answer.status == 200 else ():
            if self._id.encode() in line or b'"attachment"' in line:
                found = self._answer(event(line), quiet=True)
                if found is not None:
                    return found
        return None

    def _answer(self, heard: dict[str, Any], *, quiet: bool = False) -> _Found | None:
        """Return envelope and attachment of an event if it is the answer; one that says "wait" moves the deadline."""
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
            # An envelope just too long for a message: ntfy has made a file of it, and names it by what it looks like.
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
        if answer.id != self._id:
            return None
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
            # ntfy tells its subscribers of a file before it can be had: a 404 then, with the length of the file itself.
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
    """Return a `write` that gives up when nobody reads our output any more: then nobody waits for the rest."""

    def write(piece: bytes) -> None:
        before = into.size >> 20
        into.write(piece)
        if into.size >> 20 != before:
            _check_reader()

    return write


def _check_reader() -> None:
    from select import POLLERR, poll

    poller = poll()
    poller.register(1, 0)  # errors are told unasked: a pipe without a reader is one
    if any(happened & POLLERR for _, happened in poller.poll(0)):
        raise BrokenPipeError


def _connect_beside(client: Client) -> Any:
    """Connect on a thread of its own; the lock that comes back is free when that is over."""
    import _thread

    done = _thread.allocate_lock()
    done.acquire()

    def connect() -> None:
        try:
            client.connect()
        except OSError:
            pass  # the request that follows meets it again, and reports it
        finally:
            done.release()

    _thread.start_new_thread(connect, ())
    return done
