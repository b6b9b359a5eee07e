"""Parse what a bus server sends, receipts, messages and stream events, from untrusted JSON, checked and bounded."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE: Final = 1 << 20
"""Bytes of a line of a stream or poll; a longer line is skipped, because an error would block what follows it."""

_ID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_")
_MAX_TIME = 1 << 40


class Published(NamedTuple):
    """The server's receipt for a message that it accepted."""

    id: str
    time: int
    """Seconds since the epoch, by the server's clock."""


class Attachment(NamedTuple):
    """A file that came with a message. Its URL is dropped: files are fetched by message id from our own server."""

    name: str
    """As the sender gave it; it may hold anything and must not be used as a path."""
    size: int | None
    """Bytes; None if the server did not tell (ntfy omits it for files of 0 and 1 bytes)."""
    expires: int | None
    """Seconds since the epoch, or None."""


class Message(NamedTuple):
    """One message of a topic."""

    id: str
    time: int
    """When the server began to receive it; seconds since the epoch, by the server's clock."""
    text: str
    attachment: Attachment | None = None
    expires: int | None = None
    """When the server removes it; seconds since the epoch, None if the server did not tell."""


class Event(NamedTuple):
    """A line of a live stream; its kind is `open` (the first line), `keepalive` or `message`."""

    kind: str
    time: int
    message: Message | None = None


class Backlog(list[Message]):
    """The messages that a poll returned, in the order of the bus."""

    complete: bool = True
    """False if there may be more messages behind these, for which another poll has to ask."""
    truncated: bool = False
    """The server left out the oldest messages, which can't be had any more (ntfy from 2.28 on)."""


class BadLineError(ValueError):
    """A line does not follow the ntfy API; the text never quotes the line."""


class ServerSaidError(BadLineError):
    """The server sent an error object inside a stream; `status` and `code` are its own, 0 if absent."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"the server ended the stream with error {status} ({code})")
        self.status = status
        self.code = code


class Lines:
    """Splits a byte stream into lines of at most MAX_LINE bytes, and skips longer ones."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes, without their ends; empty lines are left out."""
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
    """Return whether `value` is a message id that may stand in a path or a query unquoted."""
    return 0 < len(value) <= 64 and _ID_CHARACTERS.issuperset(value)


def parse_event(line: bytes) -> Event | None:
    """Parse one line; return None for other events, and for a message whose fields are malformed.

    A malformed message is no error: every poll would return it again, and the messages behind it would never be read.

    Raises:
        BadLineError: The line is no JSON object, so the server does not speak the ntfy API.
        ServerSaidError: The line is an error object.
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


def parse_published(data: bytes) -> Published:
    """Parse the answer to a publish.

    Raises:
        BadLineError: The data is no such answer.
    """
    fields = parse_object(data)
    id_, time = fields.get("id"), _number(fields.get("time"))
    if not (isinstance(id_, str) and valid_id(id_)) or time is None:
        raise BadLineError("the answer to a publish holds no message id")
    return Published(id_, time)


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        BadLineError: The data is no JSON object.
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
    # In Python a bool is an int, too. Floats and huge numbers would break calculations elsewhere.
    return value if type(value) is int and 0 <= value < _MAX_TIME else None
