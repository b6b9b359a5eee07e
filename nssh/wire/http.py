"""A minimal HTTP/1.1 client for shims, which live for milliseconds (`http.client` takes 34 ms to import).

No proxies, no redirects, no cookies. Error texts are one line and hold neither request path nor topic nor token.
"""

from __future__ import annotations

from time import monotonic

from nssh.wire.client_connection import ClientConnection, Closed, HttpError, ServerAddress, Timeout, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nssh.wire.client_connection import Source
    from nssh.wire.line_stream import LineStream

__all__ = ["Client", "Closed", "HttpError", "Response", "StatusError", "Timeout", "Unreachable"]

MAX_HEADER = 64 * 1024


class StatusError(HttpError):
    """The server answered a request for a stream with a status other than 200.

    Attributes:
        response: The whole answer, with ntfy's error code.
    """

    def __init__(self, where: str, response: Response) -> None:
        super().__init__("%s answered with status %d" % (where, response.status))
        self.response = response


class Response:
    """A complete answer. Header names are lower case; of a repeated header the last value counts."""

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
    """One connection to one server, for one thread at a time; it reconnects by itself between requests.

    Args:
        server: `unix:/path`, `http://host[:port][/prefix]` or `https://…`.
        token: Sent as `Authorization: Bearer`, or as `Basic` if it is `user:password`; empty for none.
        timeout: Seconds without progress after which connecting, sending or receiving fails.

    Raises:
        HttpError: `server` is none of these forms.
    """

    def __init__(self, server: str, token: str = "", timeout: float = 10.0) -> None:
        self._address = ServerAddress(server)
        self._token = token
        self._timeout = timeout
        self._connection = ClientConnection(self._address, timeout)

    def __enter__(self) -> Client:  # noqa: PYI034  (Self needs typing)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def where(self) -> str:
        """The server's name in error texts."""
        return self._address.where

    def connect(self) -> None:
        """Connect unless connected, so that the next request need not.

        Raises:
            Unreachable: No server listens there.
            Timeout: The server did not answer in time.
        """
        self._connection.open()

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
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
            method: GET, POST or PUT.
            path: Starts with `/`, and is percent-encoded.
            headers: Further headers, printable ASCII.
            body: Sent with a Content-Length; a `Source` is sent piece by piece.
            limit: The most bytes of body that are accepted.
            deadline: By `time.monotonic`, for all steps together; each step has its timeout beside it.

        Raises:
            ValueError: Path or headers have characters that can't be sent.
            Unreachable: No server listens there; the request was not sent.
            Timeout, Closed: The answer did not come; the server may have acted on the request.
            HttpError: The answer is no HTTP, or larger than `limit`.
        """
        self.send(method, path, headers, body, deadline=deadline)
        return self.receive(limit=limit, deadline=deadline)

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

    def receive(self, *, limit: int = 1 << 20, deadline: float | None = None) -> Response:
        """Return the answer to what `send` sent. Arguments and errors are those of `request`."""
        try:
            answer = self._read_head(deadline)
            content = answer.read_all(limit, deadline)
        except BaseException:
            self.close()
            raise
        self._close_unless_reusable(answer)
        return Response(answer.status, answer.headers, content)

    def _close_unless_reusable(self, answer: IncomingAnswer) -> None:
        if not answer.reusable or self._connection.is_cut_short:
            self.close()

    def download(self, path: str, write: Callable[[bytes], None], limit: int) -> Response:
        """Send a GET, and pass the body of an answer with status 200 to `write` piece by piece.

        The body of any other answer is not read. The download fails if nothing arrives for the timeout of a step, or
        less than 4 KiB a second in the long run.

        Raises:
            Closed: The body is shorter than announced.
            ValueError, HttpError: As `request`; and whatever `write` raises.
        """
        self.send("GET", path)
        try:
            answer = self._read_head(None)
            if answer.status == 200:
                answer.pass_on(write, limit)
        except BaseException:
            self.close()
            raise
        if answer.status == 200:
            self._close_unless_reusable(answer)
        else:
            self.close()
        return Response(answer.status, answer.headers, b"")

    def stream(self, path: str, headers: Iterable[tuple[str, str]] = ()) -> LineStream:
        """Send a GET and return its answer as lines; the stream owns the connection until its end.

        Raises:
            StatusError: The answer is not a 200 (its body is in the error).
            ValueError, HttpError: As `request`.
        """
        self.send("GET", path, headers)
        return self.receive_stream()

    def receive_stream(self) -> LineStream:
        """Return the lines of the answer to a GET that `send` sent; errors are those of `stream`."""
        try:
            answer = self._read_head(None)
            refusal = None
            if answer.status != 200:
                refusal = Response(answer.status, answer.headers, answer.read_all(1 << 20, None))
        except BaseException:
            self.close()
            raise
        if refusal is not None:
            self.close()
            raise StatusError(self.where, refusal)
        from nssh.wire.line_stream import LineStream  # only shims that read need it

        return LineStream(self._connection, answer)

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

    def _read_head(self, deadline: float | None) -> IncomingAnswer:
        if deadline is None:
            deadline = monotonic() + self._timeout  # for the whole head, so that a trickle of bytes can't go on
        while True:
            answer = IncomingAnswer(self._connection, self._receive_head(deadline))
            if answer.status >= 200:
                return answer

    def _receive_head(self, deadline: float) -> str:
        data = bytearray()
        searched = 0
        while True:
            end = data.find(b"\r\n\r\n", searched)
            if end >= 0:
                self._connection.unread(bytes(data[end + 4 :]))
                return data[:end].decode("latin-1")
            searched = max(0, len(data) - 3)  # searching from the beginning each time would take quadratic time
            if len(data) > MAX_HEADER:
                raise HttpError("%s sent a header that is too large" % self.where)
            piece = self._connection.receive(deadline)
            if not piece:
                raise Closed("%s closed the connection without an answer" % self.where)
            data += piece


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit()  # isdigit alone accepts digits that int() does not


class IncomingAnswer:
    """An answer whose body is still to be read: framed by length, by chunks, or by the end of the connection.

    Attributes:
        status: Of the answer.
        headers: With names in lower case.
        reusable: The connection can carry another request when the body is read.
    """

    def __init__(self, connection: ClientConnection, head: str) -> None:
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
        if self.status in {204, 304} or self.status < 200:
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

        Without a deadline it may take ten seconds, and one more for each 4 KiB: slow links pass, a trickle does not.
        """
        data = bytearray()
        self.pass_on(data.extend, limit, deadline)
        return bytes(data)

    def pass_on(self, write: Callable[[bytes], None], limit: int, deadline: float | None = None) -> None:
        """Pass the whole body to `write` piece by piece; the time limits are those of `read_all`."""
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
        """Return the next bytes of the body, which may be empty; None at its end."""
        if self._ended:
            return None
        if self.chunked and self._left is None:
            return self._next_chunk(deadline, patient=patient)
        data = self._connection.receive(deadline, patient=patient)
        if not data:
            if self._left is None:  # the end of the connection is the end of the body
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
        """Read the size of the next chunk; return empty bytes if a chunk follows, None at the end of the body."""
        while True:
            line = self._control_line(deadline, patient=patient)
            if line:
                break  # an empty line ends the chunk before
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
