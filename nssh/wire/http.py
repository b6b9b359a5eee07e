"""A minimal HTTP/1.1 client: what a shim needs, in milliseconds (`http.client` costs 34 to import).

No proxies, no redirects, no cookies. Error texts are one line and hold neither request path nor topic nor token.
"""

from __future__ import annotations

from time import monotonic

from nssh.wire.transport import Address, Closed, Connection, HttpError, Timeout, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nssh.wire.stream import Stream
    from nssh.wire.transport import Source

__all__ = ["Client", "Closed", "HttpError", "Response", "StatusError", "Timeout", "Unreachable"]

MAX_HEADER = 64 * 1024


class StatusError(HttpError):
    """The server answered a stream with something else than a 200.

    Attributes:
        response: The whole answer, so that the caller can read ntfy's error code.
    """

    def __init__(self, where: str, response: Response) -> None:
        super().__init__("%s answered with status %d" % (where, response.status))
        self.response = response


class Response:
    """A complete answer; header names are lower case, of repeated ones the last counts."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def _authorization(token: str) -> str:
    if ":" not in token:
        return "Bearer " + token
    from binascii import b2a_base64  # rarely needed

    return "Basic " + b2a_base64(token.encode(), newline=False).decode()


class Client:
    """One connection to one server; not thread-safe (one thread at a time), reconnects by itself between requests.

    Args:
        server: `unix:/path`, `http://host[:port][/prefix]` or `https://…`.
        token: Sent as `Authorization: Bearer`, or, if it is `user:password`, as `Basic`; nothing if empty.
        timeout: Seconds without any progress after which a step (connect, send, receive) gives up.

    Raises:
        HttpError: `server` is none of these.
    """

    def __init__(self, server: str, token: str = "", timeout: float = 10.0) -> None:
        self._address = Address(server)
        self._token = token
        self._timeout = timeout
        self._connection = Connection(self._address, timeout)

    def __enter__(self) -> Client:  # noqa: PYI034  (Self needs typing)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def where(self) -> str:
        """How error texts call the server."""
        return self._address.where

    def connect(self) -> None:
        """Connect now, if not connected, so that a later request finds the connection ready.

        Raises:
            Unreachable: Nobody answers there.
            Timeout: The server did not answer in time.
        """
        self._connection.open()

    def close(self) -> None:
        """Close the connection; a later request opens another one."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | Source = b"",
        *,
        limit: int = 1 << 20,
        deadline: float | None = None,
    ) -> Response:
        """Send a request and return the whole answer, whatever its status.

        Args:
            method: GET, POST, PUT, …
            path: Starts with `/`; already percent-encoded.
            headers: More headers, ASCII.
            body: Sent with a Content-Length; of a `Source` a piece at a time is in memory.
            limit: Bytes of body that are accepted.
            deadline: `time.monotonic()` at which everything gives up, beside the timeout of each step.

        Raises:
            ValueError: Path or header can't be sent (line breaks, not ASCII).
            Unreachable, Timeout, Closed: As they say; whether the server acted is unknown after the latter two.
            HttpError: The answer is no HTTP, or larger than `limit`.
        """
        self.send(method, path, headers, body, deadline=deadline)
        return self.receive(method, limit=limit, deadline=deadline)

    def send(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | Source = b"",
        *,
        deadline: float | None = None,
    ) -> None:
        """Send a request; `receive` then returns its answer. Arguments and errors are those of `request`."""
        request = self._render(method, path, headers, body)
        self._connection.open()
        try:
            self._connection.send(request, body, deadline)
        except BaseException:
            self.close()
            raise

    def receive(self, method: str, *, limit: int = 1 << 20, deadline: float | None = None) -> Response:
        """Return the answer to what `send` sent. Arguments and errors are those of `request`."""
        try:
            reader = self._read_head(method, deadline)
            content = reader.read_all(limit, deadline)
        except BaseException:
            self.close()
            raise
        self._keep(reader)
        return Response(reader.status, reader.headers, content)

    def _keep(self, reader: Reader) -> None:
        if not reader.reusable or self._connection.is_cut_short:
            self.close()

    def download(self, path: str, write: Callable[[bytes], None], limit: int) -> Response:
        """Send a GET and hand the body of a 200 to `write` as it comes; of another answer the body is left unread.

        A slow link is no error, a silent one is, and so is a trickle (4 KiB a second is enough).

        Raises:
            Closed: The body is shorter than announced.
            ValueError, HttpError: As `request`; and whatever `write` raises.
        """
        self.send("GET", path)
        try:
            reader = self._read_head("GET", None)
            if reader.status == 200:
                reader.pass_on(write, limit)
        except BaseException:
            self.close()
            raise
        if reader.status == 200:
            self._keep(reader)
        else:
            self.close()
        return Response(reader.status, reader.headers, b"")

    def stream(self, path: str, headers: Iterable[tuple[str, str]] = ()) -> Stream:
        """Send a GET and return its answer as lines; the connection belongs to the stream until its end.

        Raises:
            StatusError: The answer is not a 200 (its body is in the error).
            ValueError, HttpError: As `request`.
        """
        self.send("GET", path, headers)
        return self.receive_stream()

    def receive_stream(self) -> Stream:
        """Return the lines of the answer to a GET that `send` sent; errors are those of `stream`."""
        try:
            reader = self._read_head("GET", None)
            refusal = None
            if reader.status != 200:
                refusal = Response(reader.status, reader.headers, reader.read_all(1 << 20, None))
        except BaseException:
            self.close()
            raise
        if refusal is not None:
            self.close()
            raise StatusError(self.where, refusal)
        from nssh.wire.stream import Stream  # for reads alone

        return Stream(self._connection, reader)

    def _render(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes | Source) -> bytes:
        host = self._address.host
        if self._address.port not in {0, 80, 443}:
            host = "%s:%d" % (host, self._address.port)
        lines = ["%s %s%s HTTP/1.1" % (method, self._address.prefix, path), "Host: " + host, "User-Agent: nssh"]
        if self._token:
            lines.append("Authorization: " + _authorization(self._token))
        size = len(body) if isinstance(body, bytes) else body.size
        if size or method in {"POST", "PUT"}:
            lines.append("Content-Length: %d" % size)
        lines += ["%s: %s" % header for header in headers]
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise ValueError("a request header must be printable ASCII")
        if " " in path or not path.startswith("/"):
            raise ValueError("a request path starts with / and has no spaces")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def _read_head(self, method: str, deadline: float | None) -> Reader:
        if deadline is None:
            deadline = monotonic() + self._timeout  # for the head as a whole, so that a trickle can't last
        while True:
            reader = Reader(self._connection, method, self._receive_head(deadline))
            if reader.status >= 200:
                return reader

    def _receive_head(self, deadline: float) -> str:
        data = bytearray()
        searched = 0
        while True:
            end = data.find(b"\r\n\r\n", searched)
            if end >= 0:
                self._connection.unread(bytes(data[end + 4 :]))
                return data[:end].decode("latin-1")
            searched = max(0, len(data) - 3)  # not from its beginning again for every few bytes that come
            if len(data) > MAX_HEADER:
                raise HttpError("%s sent a header that is too large" % self.where)
            piece = self._connection.receive(deadline)
            if not piece:
                raise Closed("%s closed the connection without an answer" % self.where)
            data += piece


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit()  # other scripts' digits are none to int()


class Reader:
    """The body of one answer, whichever way it is framed; `status` and `headers` are those of its head."""

    def __init__(self, connection: Connection, method: str, head: str) -> None:
        self._connection = connection
        self._lines = head.split("\r\n")
        self.status = self._parse_status(self._lines[0])
        self.headers: dict[str, str] = {}
        for line in self._lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise HttpError("%s sent a malformed header" % connection.where)
            self.headers[name.strip().lower()] = value.strip()
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = self._length()
        if method == "HEAD" or self.status in {204, 304} or self.status < 200:
            self.chunked, self._left = False, 0
        self._ended = self._left == 0
        close = self.headers.get("connection", "").lower() == "close" or not self._lines[0].startswith("HTTP/1.1")
        self.reusable = not close and (self.chunked or self._left is not None)

    def _parse_status(self, line: str) -> int:
        parts = line.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not _is_status(parts[1]):
            raise HttpError("%s does not speak HTTP" % self._connection.where)
        return int(parts[1])

    def _length(self) -> int | None:
        text = self.headers.get("content-length")
        if self.chunked or text is None:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 15:
            raise HttpError("%s sent a malformed header" % self._connection.where)
        return int(text)

    def read_all(self, limit: int, deadline: float | None) -> bytes:
        """Return the whole body.

        Without a deadline it may take ten seconds and then as long as 4 KiB arrive each second: slow links pass, a
        trickle does not.
        """
        data = bytearray()
        self.pass_on(data.extend, limit, deadline)
        return bytes(data)

    def pass_on(self, write: Callable[[bytes], None], limit: int, deadline: float | None = None) -> None:
        """Hand the whole body to `write` as it comes; as for the time, see `read_all`."""
        if self._left is not None and self._left > limit:
            raise HttpError("%s sent more than %d bytes" % (self._connection.where, limit))
        started = monotonic()
        size = 0
        while True:
            piece = self.read(started + 10.0 + size / 4096 if deadline is None else deadline)
            if piece is None:
                return
            size += len(piece)
            if size > limit:
                raise HttpError("%s sent more than %d bytes" % (self._connection.where, limit))
            write(piece)

    def read(self, deadline: float | None, *, patient: bool = False) -> bytes | None:
        """Return the next bytes of the body, None at its proper end."""
        if self._ended:
            return None
        if self.chunked and self._left is None:
            return self._next_chunk(deadline, patient=patient)
        data = self._connection.receive(deadline, patient=patient)
        if not data:
            if self._left is None:  # framed by the end of the connection
                self._ended = True
                return None
            raise Closed("%s closed the connection before the end" % self._connection.where)
        if self._left is not None:
            if len(data) > self._left:
                self._connection.unread(data[self._left :])
                data = data[: self._left]
            self._left -= len(data)
            if self._left == 0:
                if self.chunked:
                    self._left = None
                else:
                    self._ended = True
        return data

    def _next_chunk(self, deadline: float | None, *, patient: bool) -> bytes | None:
        """Read up to the next chunk's size; b"" means that a chunk begins."""
        while True:
            line = self._control_line(deadline, patient=patient)
            if line:
                break  # the empty one ends the chunk before
        size = line.partition(b";")[0].strip()
        if not size or len(size) > 8 or not all(digit in b"0123456789abcdefABCDEF" for digit in size):
            raise HttpError("%s sent a malformed chunk" % self._connection.where)
        self._left = int(size, 16)
        if self._left:
            return b""
        while self._control_line(deadline, patient=patient):
            pass  # trailers
        self._ended = True
        return None

    def _control_line(self, deadline: float | None, *, patient: bool) -> bytes:
        data = b""
        while True:
            head, end, rest = data.partition(b"\r\n")
            if end:
                self._connection.unread(rest)
                return head
            if len(data) > 1024:
                raise HttpError("%s sent a malformed chunk" % self._connection.where)
            try:
                piece = self._connection.receive(deadline, patient=patient)
            except Timeout:
                self._connection.unread(data)
                raise
            if not piece:
                raise Closed("%s closed the connection" % self._connection.where)
            data += piece
