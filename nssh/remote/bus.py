"""Publish to the laptop, from a process that lives for milliseconds."""

from __future__ import annotations

from time import monotonic, sleep

from nssh.remote.failure import Failure
from nssh.wire import envelope as wire
from nssh.wire.http import Client, Closed, HttpError, Unreachable
from nssh.wire.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nssh.remote.events import Events
    from nssh.wire.client_connection import Source
    from nssh.wire.http import Response
    from nssh.wire.session_file import Session

RETRY = 5.0
"""Seconds after which a publish is not tried again, and without progress after which a transfer is given up."""

# ntfy turns a message of 4096 bytes or more into a file (docs/ntfy.md); this leaves room for what a proxy may do to it.
_MESSAGE_LIMIT = 4000
# What a server may take to store a file before it answers; bytes a second.
_SLOWEST_DISK = 8 << 20


class Bus:
    """The topic of this host's session."""

    def __init__(self, session: Session, events: Events) -> None:
        self.session = session
        self.events = events
        self.is_relay = session.server.startswith("unix:")
        self.publisher = self.client()
        """The connection for requests, which is kept from one to the next."""

    def client(self, timeout: float = RETRY) -> Client:
        """Return a further client of the bus; nothing is opened yet."""
        return Client(self.session.server, self.session.token, timeout)

    def publish(self, message: wire.Envelope, payload: Source | None = None, end: float | None = None) -> int | None:
        """Publish a message, with retries for five seconds; each has the same id, so that it takes effect only once.

        Args:
            message: The envelope.
            payload: The attachment, or None.
            end: By `time.monotonic`, for everything; or None.

        Returns:
            The number of subscribers, if the server tells it, as the relay does; otherwise None.

        Raises:
            Failure: The bus did not accept the message.
        """
        method, headers, body = render(message, payload)
        size = len(message.body) if payload is None else payload.size
        client = self.publisher if payload is None else self.client(RETRY + size / _SLOWEST_DISK)
        pause = 0.1
        started = False
        last_try = 0.0
        while True:
            wait = pause
            try:
                answer = client.request(method, "/" + self.session.topic, headers, body, deadline=end)
            except HttpError as error:
                reason = str(error)
                if isinstance(error, Unreachable) and self.is_relay and not started:
                    started = True
                    start_relay(self.session.server)
                    wait = 0.0
                # No retry after a timeout: it took the whole time already.
                final = not isinstance(error, (Unreachable, Closed))
            else:
                if answer.status == 200:
                    self.events.add("msg-send", **described(message, size))
                    return _subscribers(answer)
                reason, final = refusal(answer, self.session.server, size)
                wait = max(pause, retry_after(answer))
            # The time for retries begins after the first attempt, which may have been long on a slow link.
            last_try = last_try or min(monotonic() + RETRY, end or monotonic() + RETRY)
            if final or monotonic() + wait > last_try:
                self.events.add("publish-failed", kind=message.kind, id=message.id, err=reason)
                raise Failure(reason)
            sleep(wait)
            pause *= 2


def render(message: wire.Envelope, payload: Source | None = None) -> tuple[str, list[tuple[str, str]], bytes | Source]:
    """Return method, headers and body of a publish. Raises Failure if the message is not Unicode text."""
    text = _encode(message)
    body: bytes | Source = b" "
    if payload is None:
        if len(text) <= _MESSAGE_LIMIT:
            return "POST", [("Content-Type", "text/plain")], text.encode("ascii")
        if message.body:
            body = message.body
            text = _encode(wire.Envelope(message.kind, message.url, message.mime, b"", message.id))
    else:
        body = payload
    # The limit of a message does not apply to this header, so a long URL fits, too; its file is a single blank.
    return "PUT", [("Filename", wire.attachment_name(message.mime)), ("X-Message", text)], body


def _encode(message: wire.Envelope) -> str:
    try:
        return wire.encode(message)
    except wire.EnvelopeError as error:
        raise Failure(str(error)) from None


def described(message: wire.Envelope, size: int) -> dict[str, Any]:
    """Return the fields that the log may hold of a message."""
    return {
        "kind": message.kind,
        "mime": message.mime[:80],
        "id": message.id[:80],
        "url": wire.redact(message.url),
        "size": size,
    }


def event(line: bytes) -> dict[str, Any]:
    """Parse an event that the server sent; return an empty dict if the line is none."""
    try:
        found = loads(line.decode("utf-8", "replace"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _subscribers(answer: Response) -> int | None:
    count = event(answer.body).get("subscribers")
    return count if isinstance(count, int) else None


def retry_after(answer: Response) -> float:
    """Return the seconds of a Retry-After header; 0 without one."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def refusal(answer: Response, server: str, size: int) -> tuple[str, bool]:
    """Return a line that explains a status other than 200, and whether a retry is pointless."""
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
        seconds = retry_after(answer)
        when = "in %.0f s" % seconds if seconds else "later"
        return "%s has had too many requests (429): try again %s" % (where, when), False
    if status == 507:
        return "%s has no space left on its disk (507): free some space, then try again" % where, True
    return "%s refused the message (status %d)" % (where, status), status < 500


def start_relay(server: str) -> None:
    """Start this host's relay, if the session names it. Raises Failure."""
    from nssh.relay.daemon import ensure_running
    from nssh.relay.relay_paths import RelayError, RelayPaths

    places = RelayPaths()
    if server != "unix:" + places.socket:
        return  # another relay than that of this user
    try:
        ensure_running(places, timeout=RETRY)
    except RelayError as error:
        raise Failure(str(error)) from None
