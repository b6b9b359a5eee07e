"""As much of HTTP as a callback's carrier must see: who is asked for what, and whether the answer was a success."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from nssh.base.errors import ConnectError

LONGEST_HEAD = 1 << 15
"""Bytes within which a request must have told its path and its host; a provider's answer, which may be long, stands in
between."""

_REQUEST = re.compile(rb"([A-Z]{3,16}) ([^ ?#\r\n]*)[ ?#]")
_BEGUN = re.compile(rb"[A-Z]{0,16}|[A-Z]{3,16} [^ ?#\r\n]*")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HOST = re.compile(rb"\nhost:[ \t]*([^\r\n]*)\r?\n", re.IGNORECASE)
_LOOPBACK = re.compile(rb"(([\w-]+\.)*localhost\.?|127\.0\.0\.1|\[::1\])(:[0-9]*)?[ \t]*", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})")
_STATUS_LENGTH = len(b"HTTP/1.1 200")
_TLS_HANDSHAKE = b"\x16\x03"


class NotHttpError(Exception):
    """What a client sent is no request."""


def read_request(head: bytes) -> tuple[str, str] | None:
    """Return method and path (percent-decoded, without the query) of a request; None if more is to come.

    Raises:
        NotHttpError: It is none, or tells no path within `LONGEST_HEAD` bytes.
    """
    match = _REQUEST.match(head)
    if match is not None:
        return match[1].decode(), unquote(match[2].decode("latin-1"))
    if not _BEGUN.fullmatch(head) or len(head) >= LONGEST_HEAD:
        raise NotHttpError
    return None


def is_for_loopback(head: bytes) -> bool | None:
    """Whether a request calls this machine by a name that can mean no other; None if more is to come.

    One by another name is a page of somebody else's, which had its own name resolve to 127.0.0.1 so as to read what is
    answered (DNS rebinding). A request that names no host is none of a browser's.
    """
    parts = _HEAD_END.split(head, maxsplit=1)
    host = _HOST.search(parts[0] + b"\n")
    if len(parts) == 1 and (host is None or host.end() > len(head)):
        return None
    return host is None or _LOOPBACK.fullmatch(host[1]) is not None


def is_tls(head: bytes) -> bool:
    """Whether a client begins a TLS handshake."""
    return head.startswith(_TLS_HANDSHAKE)


class Conversation:
    """Follows one connection, both halves, to know whether the callback came and was taken.

    Browsers send the next request only after the answer to the one before, so whatever the client sends first after
    the server has spoken is one. Where that is wrong (the body of a long upload) nothing matches, and nothing is lost.
    """

    def __init__(self, paths: frozenset[str]) -> None:
        """Follow a connection; `paths` are those of the callbacks."""
        self._paths = paths
        self._request: bytes | None = b""
        self._answer: bytes | None = None

    def sent(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._request is None:
            return
        self._request += data
        try:
            asked = read_request(self._request)
        except NotHttpError:
            self._request = None
            return
        if asked is not None:
            method, path = asked
            self._request = None
            # An OPTIONS or HEAD comes before the callback itself.
            self._answer = b"" if method in {"GET", "POST"} and path in self._paths else None

    def answered(self, data: bytes) -> bool:
        """Take what the server sent; True once, when it is a success (status 2xx or 3xx) for a callback's path."""
        self._request = b""
        if self._answer is None:
            return False
        self._answer = (self._answer + data)[:_STATUS_LENGTH]
        if len(self._answer) < _STATUS_LENGTH:
            return False
        match = _STATUS.match(self._answer)
        self._answer = None
        return match is not None and match[1][:1] in {b"2", b"3"}


def refusal(status: str, text: str) -> bytes:
    """Return an answer of our own, in plain text; the connection ends with it."""
    body = f"nssh: {text}\n".encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    ).encode() + body


MISDIRECTED = refusal("421 Misdirected Request", "only a request to localhost, 127.0.0.1 or [::1] is carried.")


def unreached(error: ConnectError) -> bytes:
    """Tell a browser why there is no answer, in words that hold nothing of its request."""
    if error.kind == "refused":
        text = f"{error}. If the login has ended there, start it once more."
    else:
        text = f"the remote can't be reached ({error}). Reload this page once it can."
    return refusal("502 Bad Gateway", text)
