"""What a bus says: receipts, messages, stream events; parsed from untrusted JSON lines, checked and bounded."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE: Final = 1 << 20
"""Bytes of one line of a stream or poll; a longer one is skipped, not an error, so that it can't block what follows."""

_ID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_")
_MAX_TIME = 1 << 40


class Published(NamedTuple):
    """The server's receipt for a message it accepted."""

    id: str
    time: int
    """Seconds since the epoch, by the server's clock."""
    subscribers: int | None
    """Streams that were open on the topic; only the relay tells, None elsewhere."""


class Attachment(NamedTuple):
    """A file that came with a message. Its URL is not kept: files are fetched from our own server by message id."""

    name: str
    """As the sender gave it: never a path to use, it may hold anything."""
    size: int | None
    """Bytes, or None if the server did not say (ntfy omits the size of files of 0 and 1 bytes)."""
    expires: int | None
    """Seconds since the epoch, or None."""


class Message(NamedTuple):
    """One message of a topic."""

    id: str
    time: int
    """Seconds since the epoch, by the server's clock, when the server began to receive it."""
    text: str
    attachment: Attachment | None = None
    expires: int | None = None
    """Seconds since the epoch, when the server forgets it; None if it did not say."""


class Event(NamedTuple):
    """A line of a live stream: `open` (once, first), `keepalive`, or `message`."""

    kind: str
    time: int
    message: Message | None = None


class Backlog(list[Message]):
    """What a poll returned, in the order of the bus; not `complete` if there may be more: poll again."""

    complete: bool = True
    truncated: bool = False
    """The server left out the oldest, which can't be had any more (ntfy from 2.28 on)."""


class BadLineError(ValueError):
    """A line is not what the ntfy API says; the text never quotes the content."""


class ServerSaidError(BadLineError):
    """The server sent an error object inside a stream; carries its HTTP status and code (0 if absent)."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"the server ended the stream with error {status} ({code})")
        self.status = status
        self.code = code


class Lines:
    """Cuts a byte stream into lines of at most MAX_LINE bytes; keeps no more than one line in memory."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes, without their ends and without empty ones."""
        start = 0
        while (stop := data.find(b"\n", start)) >= 0:
            line = bytes(self._rest) + data[start:stop] if self._rest else data[start:stop]
            self._rest.clear()
            start = stop + 1
            if self._skipping or len(line) > MAX_LINE:
                self._skipping = False
            elif line.strip():
                yield line
        if not self._skipping:
            self._rest += data[start:]
            if len(self._rest) > MAX_LINE:
                self._rest.clear()
                self._skipping = True


def valid_id(value: str) -> bool:
    """Return whether `value` is a message id that can stand in a path or a query as it is."""
    return 0 < len(value) <= 64 and _ID_CHARACTERS.issuperset(value)


def valid_topic(value: str) -> bool:
    """Return whether ntfy takes `value` as a topic: 1 to 64 of letters, digits, - and _."""
    return 0 < len(value) <= 64 and _ID_CHARACTERS.issuperset(value)


def parse_event(line: bytes) -> Event | None:
    """Parse one line; None for events that mean nothing to us, and for a message whose fields are no message.

    Such a message is left out rather than an error: it would come again with every poll, and block all that follow.

    Raises:
        BadLineError: The line is no JSON object, so this is no ntfy stream at all.
        ServerSaidError: It is an error object.
    """
    fields = parse_object(line)
    kind = fields.get("event")
    if kind is None and "error" in fields:
        raise ServerSaidError(_number(fields.get("http")) or 0, _number(fields.get("code")) or 0)
    time = _number(fields.get("time"))
    if time is None:
        return None
    if kind in ("open", "keepalive"):
        return Event(kind, time)
    if kind != "message":
        return None
    id_, text = fields.get("id"), fields.get("message", "")
    if not (isinstance(id_, str) and valid_id(id_)) or not isinstance(text, str):
        return None
    attachment, expires = _attachment(fields.get("attachment")), _number(fields.get("expires"))
    return Event("message", time, Message(id_, time, text, attachment, expires))


def parse_events(lines: Iterable[bytes]) -> Iterator[Event]:
    """Parse lines, leaving out what `parse_event` leaves out; raises as it does."""
    for line in lines:
        event = parse_event(line)
        if event is not None:
            yield event


def parse_published(data: bytes) -> Published:
    """Parse the answer to a publish.

    Raises:
        BadLineError: It is something else.
    """
    fields = parse_object(data)
    id_, time = fields.get("id"), _number(fields.get("time"))
    if not (isinstance(id_, str) and valid_id(id_)) or time is None:
        raise BadLineError("the answer to a publish holds no message id")
    return Published(id_, time, _number(fields.get("subscribers")))


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        BadLineError: It is not one.
    """
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadLineError("not a JSON object")
    return fields


def _attachment(fields: object) -> Attachment | None:
    if not isinstance(fields, dict):
        return None
    name = fields.get("name")
    return Attachment(
        name[:255] if isinstance(name, str) else "", _number(fields.get("size")), _number(fields.get("expires"))
    )


def _number(value: object) -> int | None:
    # bool is an int in Python; floats and absurd numbers would only break arithmetic later.
    return value if type(value) is int and 0 <= value < _MAX_TIME else None
