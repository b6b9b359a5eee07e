"""Connect the HTTP client to `unix:/path`, `http://host:port` or `https://host`, in milliseconds.

`socket` takes 16 ms to import, `_socket` half a millisecond; only https needs `socket`. Error texts are one line and
hold neither request path nor topic nor token.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class Source(Protocol):
        """A body that is not in memory as a whole."""

        size: int
        """Bytes."""

        def pieces(self) -> Iterator[bytes]:
            """Yield the body from its beginning, piece by piece."""
            ...


_CHUNK = 64 * 1024
_LONGEST = 1e6  # seconds: an infinite timeout would overflow a time_t
_NO_SIGNAL = getattr(_socket, "MSG_NOSIGNAL", 0)  # SIGPIPE may have its default action


class HttpError(OSError):
    """The server can't be reached, or does not speak HTTP; base class of the client's errors."""


class Unreachable(HttpError):  # noqa: N818  (named as the caller thinks of it)
    """No connection could be made."""


class Timeout(HttpError):  # noqa: N818
    """Nothing came within the deadline; the connection stays as it is, and a stream may be read again."""


class Closed(HttpError):  # noqa: N818
    """The server closed the connection before its answer, or a stream, was complete."""


class ServerAddress:
    """A parsed server name; `where` is the server's name in error texts."""

    __slots__ = ("host", "path", "port", "prefix", "scheme", "where")

    def __init__(self, server: str) -> None:
        self.path = self.host = self.prefix = ""
        self.port = 0
        self.scheme, _, rest = server.partition(":")
        if self.scheme == "unix" and rest.startswith("/"):
            self.path, self.host, self.where = rest, "localhost", "the nssh relay"
            return
        if self.scheme not in {"http", "https"} or not rest.startswith("//"):
            raise HttpError("the server must be unix:/path, http://host or https://host")
        authority, slash, prefix = rest[2:].partition("/")
        self.prefix = (slash + prefix).rstrip("/")
        host, colon, port = authority.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = authority, ""
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise HttpError("the server's port is not valid")
        self.port = int(port) if port else (443 if self.scheme == "https" else 80)
        self.host = host
        if not host or any(character <= " " or character in "@?#\\" for character in host):
            raise HttpError("the server's host name is not valid")
        self.where = "%s://%s" % (self.scheme, authority)


class ClientConnection:
    """A connection to a server, opened when it is needed, with a buffer for bytes put back; for one thread at a time.

    Attributes:
        is_cut_short: The server stopped reading the request before its end.

    Args:
        address: Of the server.
        timeout: Seconds without progress after which connecting, sending or receiving fails.
    """

    def __init__(self, address: ServerAddress, timeout: float) -> None:
        self.where = address.where
        self.is_cut_short = False
        self._address = address
        self._timeout = timeout
        self._socket: Any = None
        self._buffer = bytearray()

    def open(self) -> None:
        """Connect unless connected.

        Raises:
            Unreachable: No server listens there.
            Timeout: The server did not answer in time.
        """
        if self._socket is not None and self._is_stale():
            self.close()
        if self._socket is not None:
            return
        self._buffer.clear()
        self.is_cut_short = False
        try:
            self._socket = _open(self._address, self._timeout)
        except HttpError:
            raise
        except OSError as error:
            if _is_timeout(error):
                raise Timeout("%s does not answer" % self.where) from None
            raise Unreachable("cannot reach %s: %s" % (self.where, _reason(error))) from None

    def close(self) -> None:
        """Close the connection; `open` makes a new one."""
        connection, self._socket = self._socket, None
        self._buffer.clear()
        if connection is not None:
            connection.close()

    def fileno(self) -> int:
        """Return the descriptor.

        Raises:
            Closed: There is no connection.
        """
        return int(self._connected().fileno())

    def _connected(self) -> Any:
        if self._socket is None:
            raise Closed("the connection to %s is closed" % self.where)
        return self._socket

    def _is_stale(self) -> bool:
        """Return whether the server has closed the idle connection, or sent bytes without a request."""
        if self._buffer:
            return True
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except OSError as error:
            return not _would_block(error)
        return True

    def send(self, head: bytes, body: bytes | Source, deadline: float | None) -> None:
        """Send a request; if the server stops reading, as for an early 413, set `is_cut_short` and return.

        Raises:
            Timeout: The server took no bytes in time.
            Closed: `open` was not called.
        """
        # A small request is one segment: a second one would wait for the acknowledgement of the first.
        if isinstance(body, bytes) and len(body) <= _CHUNK:
            self._send_part(head + body, deadline)
            return
        self._send_part(head, deadline)
        for piece in (body,) if isinstance(body, bytes) else body.pieces():
            if self.is_cut_short:
                return
            self._send_part(piece, deadline)
        if not self.is_cut_short:
            self._wait_until_taken(deadline)

    def _send_part(self, part: bytes, deadline: float | None) -> None:
        connection = self._connected()
        view = memoryview(part)
        flags = () if self._address.scheme == "https" else (_NO_SIGNAL,)  # an SSLSocket takes no flags
        try:
            if len(part) > _CHUNK and flags:
                self._send_watching(view, deadline)
                return
            while view:
                connection.settimeout(self._remaining(deadline))
                view = view[connection.send(view[: 4 * _CHUNK], *flags) :]
        except OSError as error:
            if isinstance(error, Timeout):
                raise
            if _is_timeout(error):
                raise Timeout("%s takes no data" % self.where) from None
            # EPIPE or reset: a server that refuses a body answers early and closes. Its answer can still be read.
            self.is_cut_short = True

    def _wait_until_taken(self, deadline: float | None) -> None:
        """Wait until the peer has acknowledged all that was sent, or answers.

        Megabytes may lie in the kernel's buffers, and on a slow link the time for the answer must not begin before they
        are gone. Where the system does not tell how much is left (it is not Linux), this returns at once.

        Raises:
            Timeout: The peer acknowledged nothing for the timeout of a step.
        """
        if sys.platform != "linux":
            return
        from fcntl import ioctl
        from select import POLLIN, poll

        poller = poll()
        poller.register(self.fileno(), POLLIN)
        waiting, since = -1, monotonic()
        while True:
            try:
                left = int.from_bytes(ioctl(self.fileno(), 0x5411, b"\0\0\0\0"), sys.byteorder)  # SIOCOUTQ
            except OSError:
                return
            if left <= 0 or poller.poll(20):
                return
            if left != waiting:
                waiting, since = left, monotonic()
            elif monotonic() - since > self._remaining(deadline):
                raise Timeout("%s takes no data" % self.where)

    def _send_watching(self, view: memoryview, deadline: float | None) -> None:
        """Send a large part, but stop as soon as the server answers: it will not read the rest."""
        from select import POLLIN, POLLOUT, poll

        poller = poll()
        poller.register(self._socket.fileno(), POLLIN | POLLOUT)
        self._socket.settimeout(0)
        while view:
            events = poller.poll(self._remaining(deadline) * 1000)
            if not events:
                raise Timeout("%s takes no data" % self.where)
            if events[0][1] & ~POLLOUT:
                self.is_cut_short = True
                return
            try:
                view = view[self._socket.send(view[: 4 * _CHUNK], _NO_SIGNAL) :]
            except OSError as error:
                if not _would_block(error):
                    raise

    def _remaining(self, deadline: float | None) -> float:
        if deadline is None:
            return self._timeout
        left = deadline - monotonic()
        if left <= 0:
            raise Timeout("%s does not answer" % self.where)
        return min(left, self._timeout)

    def receive(self, deadline: float | None, *, patient: bool = False) -> bytes:
        """Wait for bytes and return what has arrived; empty at the end of the connection.

        Args:
            deadline: By `time.monotonic`, or None.
            patient: Ignore the timeout of a step; bytes that have arrived are returned even after the deadline.

        Raises:
            Timeout: Nothing arrived in time.
            Closed: The connection broke, or `open` was not called.
        """
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        connection = self._connected()
        if patient and deadline is not None:
            connection.settimeout(min(max(0.0, deadline - monotonic()), _LONGEST))
        else:
            connection.settimeout(self._remaining(deadline))
        try:
            return bytes(connection.recv(_CHUNK))
        except OSError as error:
            if _is_timeout(error) or _would_block(error):
                raise Timeout("%s does not answer" % self.where) from None
            raise Closed("%s closed the connection" % self.where) from None

    def unread(self, data: bytes) -> None:
        """Put back bytes that belong to what is read next."""
        self._buffer[:0] = data


def _open(address: ServerAddress, timeout: float) -> Any:
    if address.scheme == "unix":
        return open_unix(address.path, timeout)
    connection = _open_tcp(address, timeout)
    if address.scheme == "http":
        return connection
    import socket
    import ssl

    plain = socket.socket(fileno=connection.detach())
    plain.settimeout(timeout)
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=address.host.strip("[]"))
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise Unreachable("cannot trust %s: %s" % (address.where, error.verify_message)) from None
    except BaseException:
        plain.close()
        raise


def open_unix(path: str, timeout: float) -> Any:
    """Return a socket connected to the unix socket at `path`, with `timeout` set; on Linux the path may be long.

    Raises:
        OSError: No process listens there.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    directory = -1
    try:
        connection.settimeout(timeout)
        name = os.fsencode(path)
        if len(name) > 100 and os.path.isdir("/proc/self/fd"):  # sun_path holds 108 bytes, and some homes are deeper
            directory = os.open(os.path.dirname(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            name = b"/proc/self/fd/%d/%s" % (directory, os.path.basename(name))
        _connect_unix(connection, name, monotonic() + timeout)
    except BaseException:
        connection.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return connection


def _connect_unix(connection: Any, name: bytes, deadline: float) -> None:
    pause = 0.001
    while True:
        error = connection.connect_ex(name)
        if not error:
            return
        # Linux does not wait for a place in a full listen queue if the socket has a timeout.
        if error not in {errno.EAGAIN, errno.EWOULDBLOCK} or monotonic() + pause > deadline:
            raise OSError(error, os.strerror(error))
        sleep(pause)
        pause = min(2 * pause, 0.1)


def _open_tcp(address: ServerAddress, timeout: float) -> Any:
    host = address.host.strip("[]")
    # As bytes: for a str, Python would import the idna codec and stringprep.
    name = host.encode("ascii") if host.isascii() else host.encode("idna")
    last: OSError = OSError(errno.EHOSTUNREACH, "no address")
    for family, kind, protocol, _, target in _socket.getaddrinfo(name, address.port, 0, _socket.SOCK_STREAM):
        connection = _socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(target)
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            last = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise last


def _is_timeout(error: OSError) -> bool:
    return isinstance(error, (_socket.timeout, TimeoutError))  # they are two classes before Python 3.10


def _would_block(error: OSError) -> bool:
    if error.errno in {errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR}:
        return True
    return type(error).__name__ in {"SSLWantReadError", "SSLWantWriteError"}  # by name, to avoid importing ssl


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "it is not running"
    return error.strerror or type(error).__name__
