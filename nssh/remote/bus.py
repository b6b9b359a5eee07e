"""Publishing to the laptop and asking it, from a process that lives for milliseconds."""

from __future__ import annotations

from time import monotonic, sleep

from nssh.remote.failure import Failure, printable
from nssh.wire import envelope as wire
from nssh.wire.http import Client, Closed, HttpError, StatusError, Timeout, Unreachable
from nssh.wire.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nssh.remote.events import Events
    from nssh.wire.http import Response, Stream
    from nssh.wire.session import Session

LIMIT = 20 << 20
"""Bytes of a payload, either way."""

RETRY = 5.0
"""Seconds after which a publish is not tried again."""

# ntfy turns a message of 4096 bytes or more into a file (NTFY.md); this leaves room for what a proxy may do to it.
_MESSAGE_LIMIT = 4000
# Seconds that a server may take from telling of a file to having it.
_FILE_DELAY = 2.0
_NO_LAPTOP = "no laptop is connected to this host; connect with `nssh <host>`, or wait for it to come back"
_NO_ANSWER = "the laptop did not answer within %g s"


class Bus:
    """The topic of this host's session."""

    def __init__(self, session: Session, events: Events) -> None:
        self._session = session
        self._events = events
        self._relay = session.server.startswith("unix:")
        self._publisher = self._client()

    def _client(self, timeout: float = RETRY) -> Client:
        return Client(self._session.server, self._session.token, timeout)

    def publish(self, message: wire.Envelope, payload: bytes = b"", end: float | None = None) -> int | None:
        """Hand a message to the bus; tried again for five seconds, as the same message, so that it acts only once.

        Args:
            message: What.
            payload: What it carries; goes inside or beside it.
            end: `time.monotonic()` at which to give up altogether.

        Returns:
            How many subscribers got it, if the server says so (the relay does).

        Raises:
            Failure: The bus did not take it.
        """
        method, headers, body = _render(message, payload)
        size = len(payload)
        # The answer comes when the last byte has arrived: allow for a link of 2 Mbit/s.
        client = self._publisher if size < 1 << 16 else self._client(RETRY + size / (256 << 10))
        last_try = min(monotonic() + RETRY, end or monotonic() + RETRY)
        pause = 0.1
        started = False
        while True:
            wait = pause
            try:
                answer = client.request(method, "/" + self._session.topic, headers, body, deadline=end)
            except HttpError as error:
                reason = str(error)
                if isinstance(error, Unreachable) and self._relay and not started:
                    started = True
                    _start_relay(self._session.server)
                    wait = 0.0
                final = not isinstance(error, (Unreachable, Timeout, Closed))
            else:
                if answer.status == 200:
                    self._events.add("msg-send", **_described(message, size))
                    return _subscribers(answer)
                reason, final = _refusal(answer, self._session.server, size)
                wait = max(pause, _retry_after(answer))
            if final or monotonic() + wait > last_try:
                self._events.add("publish-failed", kind=message.kind, id=message.id, err=reason)
                raise Failure(reason)
            sleep(wait)
            pause *= 2

    def ask(self, mime: str, timeout: float) -> tuple[str, bytes]:
        """Ask the laptop for its clipboard.

        Returns:
            The type that the laptop says it is, and the content.

        Raises:
            Failure: There is no laptop, no answer, or the laptop's answer is an error.
        """
        end = monotonic() + timeout
        for last in (False, True):
            message = wire.Envelope(wire.KIND_CLIP_READ_REQUEST, mime=mime, id=wire.new_id())
            try:
                return self._ask(message, end, timeout)
            except Closed as error:
                # The server went away between question and answer, and the answer with it: ask anew, once.
                if last or monotonic() >= end:
                    raise Failure(str(error)) from None
            except Timeout:
                self._events.add("clip-read-timeout", mime=mime, id=message.id)
                raise Failure(_NO_ANSWER % timeout) from None
            except HttpError as error:
                self._events.add("clip-read-error", mime=mime, id=message.id, err=str(error))
                raise Failure(str(error)) from None
        raise AssertionError("not reached")

    def _ask(self, message: wire.Envelope, end: float, timeout: float) -> tuple[str, bytes]:
        connected = None if self._relay else _connect_beside(self._publisher)
        stream = self._subscribe(min(timeout, RETRY), end)
        try:
            # Only what is published after the server's `open` is sure to come along this stream.
            while _event(stream.line(end)).get("event") != "open":
                pass
            if connected is not None:
                connected.acquire(timeout=max(0.0, end - monotonic()))
            subscribers = self.publish(message, end=end)
            if subscribers is not None and subscribers <= 1:  # this stream is one of them
                self._events.add("clip-read-error", mime=message.mime, id=message.id, err="no subscriber")
                raise Failure(_NO_LAPTOP)
            self._events.flush()
            while True:
                event = _event(stream.line(end))
                answer = self._answer(event, message.id, end)
                if answer is not None:
                    return self._accept(answer, event, message, end)
        finally:
            stream.close()

    def _subscribe(self, timeout: float, end: float) -> Stream:
        started = False
        pause = 0.1
        while True:
            try:
                return self._client(timeout).stream("/%s/json" % self._session.topic)
            except StatusError as error:
                reason, final = _refusal(error.response, self._session.server, 0)
                pause = max(pause, _retry_after(error.response))
            except Unreachable as error:
                reason, final = str(error), False
                if self._relay and not started:
                    started = True
                    _start_relay(self._session.server)
                    continue
            if final or monotonic() + pause > end:
                raise Failure(reason) from None
            sleep(pause)
            pause *= 2

    def _answer(self, event: dict[str, Any], wanted: str, end: float) -> wire.Envelope | None:
        """Return the event's envelope if it is the answer to the request `wanted`."""
        text = event.get("message")
        if event.get("event") != "message" or not isinstance(text, str):
            return None
        try:
            answer = wire.decode(text)
        except wire.EnvelopeError:
            answer = None
        attachment = event.get("attachment")
        if answer is None and isinstance(attachment, dict) and str(attachment.get("name")).startswith("attachment."):
            # An envelope just too long for a message: ntfy has made a file of it, and names it by what it looks like.
            try:
                answer = wire.decode(self._download(attachment, end, 1 << 16).decode("utf-8", "replace"))
            except (wire.EnvelopeError, Failure):
                answer = None
            else:
                event.pop("attachment")
        if answer is None:
            self._events.add("msg-unknown", size=len(text))
            return None
        return answer if answer.kind == wire.KIND_CLIP_READ_RESPONSE and answer.id == wanted else None

    def _accept(
        self, answer: wire.Envelope, event: dict[str, Any], asked: wire.Envelope, end: float
    ) -> tuple[str, bytes]:
        attachment = event.get("attachment")
        body = answer.body
        if isinstance(attachment, dict):
            body = self._download(attachment, end, LIMIT)
        self._events.add("msg-recv", **_described(answer, len(body)))
        if body.startswith(b"ERROR: "):
            reason = printable(body[7:1024].decode("utf-8", "replace"))
            self._events.add("clip-read-error", mime=asked.mime, id=asked.id, err="the laptop's answer is an error")
            raise Failure(reason or "the laptop could not read its clipboard")
        if not body:
            self._events.add("clip-read-empty", mime=asked.mime, id=asked.id)
        return answer.mime, body

    def _download(self, attachment: dict[str, Any], end: float, limit: int) -> bytes:
        """Fetch a file from our own server, whatever host its URL names."""
        url = attachment.get("url")
        name = url.rpartition("/file/")[2] if isinstance(url, str) else ""
        size = attachment.get("size")
        if not name or len(name) > 100 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
            raise Failure("the bus names a file that can't be fetched")
        if isinstance(size, int) and size > limit:
            raise Failure("the laptop's clipboard holds %d MiB; %d MiB can be sent" % (size >> 20, limit >> 20))
        client = self._client(max(RETRY, end - monotonic()))
        give_up = monotonic() + _FILE_DELAY
        pause = 0.01
        while True:
            # Once the answer is there, a slow link is no reason to give up: the client's own limits hold.
            try:
                answer = client.request("GET", "/file/" + name, limit=limit)
                if answer.status == 200:
                    return answer.body
                reason = "status %d" % answer.status
                final = answer.status != 404
            except HttpError as error:
                reason = str(error)
                final = not isinstance(error, Closed)
            # ntfy tells its subscribers of a file before it can be had: a 404 then, with the length of the file itself.
            if final or monotonic() + pause > give_up:
                raise Failure("the clipboard's content can't be fetched: " + reason)
            sleep(pause)
            pause *= 2


def _render(message: wire.Envelope, payload: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return method, headers and body of a publish."""
    if payload and not wire.wants_attachment(message.mime, len(payload)):
        message.body, payload = payload, b""
    text = _encode(message)
    if len(text) <= _MESSAGE_LIMIT and not payload:
        return "POST", [("Content-Type", "text/plain")], text.encode("ascii")
    if message.body:
        payload, message.body = message.body, b""
        text = _encode(message)
    # A long URL too travels in the header, which is not bound by the message limit; the file is a blank then.
    headers = [("Filename", wire.attachment_name(message.mime)), ("X-Message", text)]
    return "PUT", headers, payload or b" "


def _encode(message: wire.Envelope) -> str:
    try:
        return wire.encode(message)
    except wire.EnvelopeError as error:
        raise Failure(str(error)) from None


def _described(message: wire.Envelope, size: int) -> dict[str, Any]:
    return {
        "kind": message.kind,
        "mime": message.mime[:80],
        "id": message.id[:80],
        "url": wire.redact(message.url),
        "size": size,
    }


def _event(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise Closed("the server ended the subscription")
    try:
        event = loads(line.decode("utf-8", "replace"))
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _subscribers(answer: Response) -> int | None:
    count = _event(answer.body).get("subscribers")
    return count if isinstance(count, int) else None


def _retry_after(answer: Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdigit() and len(text) < 6 else 0.0


def _refusal(answer: Response, server: str, size: int) -> tuple[str, bool]:
    """Say what a status other than 200 means, and whether trying again is pointless."""
    where = "the nssh relay" if server.startswith("unix:") else server
    status = answer.status
    if status == 401:
        return (
            "%s does not accept this session's token (401): check it in your laptop's config, then reconnect" % where,
            True,
        )
    if status == 403:
        return "%s does not allow this topic (403): your laptop's config needs a token with access" % where, True
    if status == 413:
        return "%s does not take %d bytes (413): too large for it, or its quota is used up" % (where, size), True
    if status == 429:
        seconds = _retry_after(answer)
        when = "in %.0f s" % seconds if seconds else "later"
        return "%s has had too many requests (429): try again %s" % (where, when), False
    if status == 507:
        return "%s has no space left on its disk (507): free some space, then try again" % where, True
    return "%s refused the message (status %d)" % (where, status), status < 500


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


def _start_relay(server: str) -> None:
    """Start this host's relay, if it is the one that the session names. Raises Failure."""
    from nssh.relay.daemon import ensure_running
    from nssh.relay.places import Places, RelayError

    places = Places()
    if server != "unix:" + places.socket:
        return  # somebody else's to start
    try:
        ensure_running(places, timeout=RETRY)
    except RelayError as error:
        raise Failure(str(error)) from None
