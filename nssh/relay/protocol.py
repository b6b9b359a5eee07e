"""Serve one HTTP/1.1 connection: read requests and send answers, with limits on everything that arrives."""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

MAX_HEADER = 256 * 1024
"""Bytes of a request's head: `X-Message` may carry a whole envelope, of which ntfy takes a megabyte."""

IDLE_TIMEOUT = 600.0
"""Seconds after which a connection without a request is closed."""

READ_TIMEOUT = 30.0
"""Seconds for the head of a request, and for each wait for bytes of a body."""

WRITE_TIMEOUT = 60.0
"""Seconds after which a client that reads nothing is disconnected; it can come back with `since`."""

_CHUNK = 64 * 1024
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}


class BadRequestError(Exception):
    """The request is no acceptable HTTP; the answer is plain text, and the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class DisconnectedError(Exception):
    """The client is gone, or stalled for too long."""


class Request:
    """The head of a request; names of headers and parameters are lower case.

    Attributes:
        path: Percent-decoded.
        is_modern: The client speaks HTTP/1.1, and so understands chunks.
    """

    __slots__ = ("headers", "is_modern", "keep_alive", "method", "path", "query")

    def __init__(self, method: str, target: str, headers: dict[str, str], *, is_modern: bool) -> None:
        self.method = method
        path, _, query = target.partition("?")
        self.path = unquote(path, plus=False)
        self.query: dict[str, str] = {}
        for pair in query.split("&") if query else ():
            name, _, value = pair.partition("=")
            self.query.setdefault(unquote(name).lower(), unquote(value))
        self.headers = headers
        self.is_modern = is_modern
        connection = headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection and (is_modern or "keep-alive" in connection)

    def parameter(self, *names: str) -> str:
        """Return the first given of these parameters, from the headers (`x-…` or plain) or the query; or empty."""
        for name in names:
            for header in ("x-" + name, name):
                if self.headers.get(header):
                    return self.headers[header]
        for name in names:
            if self.query.get(name):
                return self.query[name]
        return ""


def unquote(text: str, *, plus: bool = True) -> str:
    """Decode percent escapes as UTF-8, with U+FFFD for other bytes; a malformed escape is kept."""
    if plus:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    pieces = text.encode("utf-8").split(b"%")
    out = [pieces[0]]
    for piece in pieces[1:]:
        if len(piece) >= 2 and _HEX.issuperset(piece[:2]):
            out.append(bytes([int(piece[:2], 16)]) + piece[2:])
        else:
            out.append(b"%" + piece)
    return b"".join(out).decode("utf-8", "replace")


class ServerConnection:
    """One accepted connection; for one thread.

    Attributes:
        is_broken: The connection can't carry another request, because a body was not read to its end.
    """

    def __init__(self, connection: socket) -> None:
        self.socket = connection
        self.is_broken = False
        self._buffer = bytearray()
        self._left = 0
        self._chunked = False
        self._expects = False

    def read_request(self) -> Request | None:
        """Wait for the next request and return it; None if the client has ended the connection.

        Raises:
            BadRequestError: The request is malformed, or its head too large.
            DisconnectedError: The connection broke, or the time is over.
        """
        deadline = monotonic() + IDLE_TIMEOUT
        started = False
        searched = 0
        while True:
            while self._buffer[:2] == b"\r\n":  # HTTP allows empty lines before a request
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n", searched)
            if end >= 0:
                break
            searched = max(0, len(self._buffer) - 3)  # searching from the beginning each time would take quadratic time
            if len(self._buffer) > MAX_HEADER:
                raise BadRequestError(431, "Request Header Fields Too Large")
            if self._buffer and not started:
                started = True
                deadline = monotonic() + READ_TIMEOUT
            if not self._fill(deadline):
                if not self._buffer:
                    return None
                raise DisconnectedError
        if end > MAX_HEADER:
            raise BadRequestError(431, "Request Header Fields Too Large")
        head = self._buffer[:end].decode("utf-8", "replace")
        del self._buffer[: end + 4]
        return self._parse(head)

    def _fill(self, deadline: float) -> bool:
        left = deadline - monotonic()
        if left <= 0:
            raise DisconnectedError
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(_CHUNK)
        except OSError as error:
            raise DisconnectedError from error
        self._buffer += data
        return bool(data)

    def _parse(self, head: str) -> Request:
        lines = head.split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[0] or not _TOKEN.issuperset(words[0]) or not words[1].startswith("/"):
            raise BadRequestError(400, "Bad Request: malformed request line")
        if words[2] not in {"HTTP/1.1", "HTTP/1.0"}:
            raise BadRequestError(505, "HTTP Version Not Supported")
        headers: dict[str, str] = {}
        name = ""
        for line in lines[1:]:
            if line[:1] in {" ", "\t"} and name:  # a folded header
                headers[name] += " " + line.strip(" \t")
                continue
            name, colon, value = line.partition(":")
            if not colon or not name or not _TOKEN.issuperset(name):
                raise BadRequestError(400, "Bad Request: malformed header")
            name = name.lower()
            value = value.strip(" \t")
            if name == "content-length" and headers.get(name, value) != value:
                raise BadRequestError(400, "Bad Request: contradictory lengths")
            headers.setdefault(name, value)
        for value in headers.values():
            if any((character < " " and character != "\t") or character == "\x7f" for character in value):
                raise BadRequestError(400, "Bad Request: invalid header value")
        self._frame(headers)
        return Request(words[0], words[1], headers, is_modern=words[2] == "HTTP/1.1")

    def _frame(self, headers: dict[str, str]) -> None:
        length = headers.get("content-length")
        coding = headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise BadRequestError(400, "Bad Request: unsupported transfer encoding")
            self._chunked, self._left = True, 0
        else:
            length = "0" if length is None else length
            if not (length.isascii() and length.isdigit()) or len(length) > 15:
                raise BadRequestError(400, "Bad Request: malformed length")
            self._chunked, self._left = False, int(length)
        self._expects = headers.get("expect", "").lower() == "100-continue"

    @property
    def announced(self) -> int:
        """The bytes of body that are announced and not read yet; 0 for a chunked body."""
        return self._left

    def read_body(self, count: int) -> bytes:
        """Return up to `count` bytes of the body; empty only at its end.

        Raises:
            BadRequestError: The framing of the body is malformed.
            DisconnectedError: The connection broke, or the time is over.
        """
        if self._expects and (self._left or self._chunked):
            self._expects = False
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._chunked and not self._left:
            self._next_chunk()
        if not self._left:
            return b""
        if not self._buffer and not self._fill(monotonic() + READ_TIMEOUT):
            raise DisconnectedError
        count = min(count, self._left, len(self._buffer))
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._left -= count
        if self._chunked and not self._left and self._line():
            raise BadRequestError(400, "Bad Request: malformed chunk")
        return data

    def _next_chunk(self) -> None:
        size = self._line().partition(b";")[0].strip()
        if not size or len(size) > 8 or not _HEX.issuperset(size):
            raise BadRequestError(400, "Bad Request: malformed chunk")
        self._left = int(size, 16)
        if not self._left:
            for _ in range(64):
                if not self._line():
                    self._chunked = False
                    return
            raise BadRequestError(400, "Bad Request: too many trailers")

    def _line(self) -> bytes:
        deadline = monotonic() + READ_TIMEOUT
        while True:
            end = self._buffer.find(b"\r\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            if len(self._buffer) > 4096:
                raise BadRequestError(400, "Bad Request: malformed chunk")
            if not self._fill(deadline):
                raise DisconnectedError

    def skip_body(self) -> None:
        """Read the rest of a small body, so that a next request can follow; a large one breaks the connection."""
        skipped = 0
        if self._expects and (self._left or self._chunked):
            self.is_broken = True  # the client waits for "100 Continue" before it sends the body
            return
        while self._chunked or self._left:
            skipped += len(self.read_body(_CHUNK))
            if skipped + self._left > _CHUNK:
                self.is_broken = True
                return

    def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            DisconnectedError: The client is gone, or read nothing for a minute.
        """
        view = memoryview(data)
        self.socket.settimeout(WRITE_TIMEOUT)
        try:
            while view:
                view = view[self.socket.send(view) :]
        except OSError as error:
            raise DisconnectedError from error

    def send_head(self, status: int, headers: list[tuple[str, str]], body: bytes = b"") -> None:
        """Send status and headers, together with the body or its first part."""
        lines = ["HTTP/1.1 %d %s" % (status, _REASONS[status])]
        lines += ["%s: %s" % header for header in headers]
        if self.is_broken:
            lines.append("Connection: close")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body)

    def linger(self) -> None:
        """End a connection whose client may still be sending, for two seconds at most.

        Closing it at once would reset it, and the client could lose our answer.
        """
        deadline = monotonic() + 2.0
        try:
            self.socket.shutdown(1)
            while monotonic() < deadline:
                self.socket.settimeout(max(0.01, deadline - monotonic()))
                if not self.socket.recv(_CHUNK):
                    return
        except OSError:
            return  # the client is gone, or still sending after two seconds
