"""Parses the part of HTTP that forwarding a callback needs: method, path and host of a request, the answer's status."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from nssh.base.errors import ConnectError

LONGEST_HEAD = 1 << 15
"""Bytes within which a request must contain its path and its host. The provider's answer, in the path, may be long."""

_REQUEST = re.compile(rb"([A-Z]{3,16}) ([^ ?#\r\n]*)[ ?#]")
_BEGUN = re.compile(rb"[A-Z]{0,16}|[A-Z]{3,16} [^ ?#\r\n]*")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HOST = re.compile(rb"\nhost:[ \t]*([^\r\n]*)\r?\n", re.IGNORECASE)
_LOOPBACK = re.compile(rb"(([\w-]+\.)*localhost\.?|127\.0\.0\.1|\[::1\])(:[0-9]*)?[ \t]*", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})")
_STATUS_LENGTH = len(b"HTTP/1.1 200")
_TLS_HANDSHAKE = b"\x16\x03"


class NotHttpError(Exception):
    """What a client sent is not an HTTP request."""


def read_request(head: bytes) -> tuple[str, str] | None:
    """Return method and path (percent-decoded, without the query) of a request; None if it is incomplete.

    Raises:
        NotHttpError: It is not a request, or its path does not end within `LONGEST_HEAD` bytes.
    """
    match = _REQUEST.match(head)
    if match is not None:
        return match[1].decode(), unquote(match[2].decode("latin-1"))
    if not _BEGUN.fullmatch(head) or len(head) >= LONGEST_HEAD:
        raise NotHttpError
    return None


def is_for_loopback(head: bytes) -> bool | None:
    """Whether a request's Host header is a name of the loopback, or is missing; None if the request is incomplete.

    Another name means DNS rebinding: a foreign page let its own name resolve to 127.0.0.1, to read the answer. A
    browser always sends a Host header.
    """
    parts = _HEAD_END.split(head, maxsplit=1)
    host = _HOST.search(parts[0] + b"\n")
    if len(parts) == 1 and (host is None or host.end() > len(head)):
        return None
    return host is None or _LOOPBACK.fullmatch(host[1]) is not None


def is_tls(head: bytes) -> bool:
    """Whether a client starts a TLS handshake."""
    return head.startswith(_TLS_HANDSHAKE)


class Conversation:
    """Follows both directions of a connection, to notice a successful answer to a callback.

    Browsers send a request only after the answer to the one before. So what the client sends first after an answer is
    taken for a request. If it is not (the body of a long upload), it does not match, and no harm is done.
    """

    def __init__(self, paths: frozenset[str]) -> None:
        """Follow a connection; `paths` are the paths of the callbacks."""
        self._paths = paths
        self._request: bytes | None = b""
        self._answer: bytes | None = None

    def sent(self, data: bytes) -> None:
        """Take data that the client sent."""
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
            # OPTIONS and HEAD may come before the callback, and are none.
            self._answer = b"" if method in {"GET", "POST"} and path in self._paths else None

    def answered(self, data: bytes) -> bool:
        """Take data that the server sent; return True at a successful answer (2xx or 3xx) to a callback."""
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
    """Return an HTTP answer in plain text, which closes the connection."""
    body = f"nssh: {text}\n".encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    ).encode() + body


MISDIRECTED = refusal("421 Misdirected Request", "only a request to localhost, 127.0.0.1 or [::1] is carried.")


def unreached(error: ConnectError) -> bytes:
    """Return the answer to a browser whose request can't be forwarded. It repeats nothing of the request."""
    if error.kind == "refused":
        text = f"{error}. If the login has ended there, start it once more."
    else:
        text = f"the remote can't be reached ({error}). Reload this page once it can."
    return refusal("502 Bad Gateway", text)
