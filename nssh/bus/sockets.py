"""Let any thread cut connections, and let http.client use byte streams as sockets."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import threading
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from nssh.ssh.connection import ByteStream


class Cutter:
    """The open connections of one HTTP session, which any thread can end at once, with the reads and writes on them.

    Closing a file descriptor does not wake a thread that is blocked in `recv`, and its number may be reused. So a
    duplicate of each socket is kept and shut down, which wakes every thread that uses the socket, with TLS or without.
    A ByteStream that is no socket is closed: its own `close` wakes its readers.
    """

    def __init__(self, *, once: bool = False) -> None:
        """Begin without connections.

        Args:
            once: For the single connection of a live stream. `forget` does nothing, because http.client closes a
                connection while its answer is still being read; and connections added after a `cut` are refused.
        """
        self._lock = threading.Lock()
        self._handles: dict[int, _Handle] = {}
        self._once = once
        self._off = False
        self._newest: ByteStream | None = None
        self._dialled: ByteStream | None = None
        self.cuts = 0
        """How often `cut` was called."""

    def add(self, owner: object, sock: ByteStream) -> None:
        """Add the connection that `owner` uses from now on, in place of its earlier one.

        Raises:
            ConnectionAbortedError: `cut` was called before, and this is for a single connection (`once`).
        """
        handle = _Handle(sock)
        self._dialled = sock
        with self._lock:
            refused = self._off
            old = None if refused else self._handles.pop(id(owner), None)
            if not refused:
                self._handles[id(owner)] = handle
        if refused:
            handle.cut()
            raise ConnectionAbortedError("the connection was given up meanwhile")
        if old is not None:
            old.release()

    @property
    def stderr_line(self) -> str:
        """The last line that a dialled command wrote to its stderr, printable, at most 200 characters; or empty."""
        text = getattr(self._dialled, "stderr", "")
        lines = text.strip().splitlines() if isinstance(text, str) else []
        return "".join(character for character in lines[-1][:200] if character.isprintable()) if lines else ""

    def connected(self, sock: ByteStream) -> None:
        """Note the connection that is ready for requests; with TLS it is another object than the one added."""
        self._newest = sock

    def set_timeout(self, seconds: float) -> None:
        """Set how long the newest connection waits for bytes; to be called by the thread that uses it."""
        if self._newest is not None:
            self._newest.settimeout(seconds)

    def forget(self, owner: object) -> None:
        """Remove the connection of `owner`, which is closed now; an unknown owner is no error."""
        if self._once:
            return
        with self._lock:
            handle = self._handles.pop(id(owner), None)
        if handle is not None:
            handle.release()

    def cut(self) -> None:
        """End all connections now, without blocking; any thread, any number of times."""
        with self._lock:
            self.cuts += 1
            handles, self._handles = list(self._handles.values()), {}
            self._off = self._off or self._once
        for handle in handles:
            handle.cut()


class _Handle:
    """A hold on one connection, by which it can be cut at any time."""

    def __init__(self, sock: ByteStream) -> None:
        self._socket: socket.socket | None = None
        self._stream: ByteStream | None = None
        if isinstance(sock, socket.socket):
            self._socket = socket.socket(fileno=os.dup(sock.fileno()))
        else:
            self._stream = sock

    def cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # not connected yet, or ended already
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        if self._stream is not None:
            self._stream.close()

    def release(self) -> None:
        if self._socket is not None:
            self._socket.close()


def as_socket(stream: ByteStream) -> socket.socket:
    """Return `stream` itself if it is a socket, else a wrapper with the part of a socket that http.client uses."""
    if isinstance(stream, socket.socket):
        return stream
    return cast("socket.socket", _StreamSocket(stream))


class _StreamSocket:
    """A byte stream with `makefile`; as with a socket, it stays open until the files made of it are closed as well."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._files = 0
        self._closed = False
        self.recv = stream.recv
        self.settimeout = stream.settimeout
        self.fileno = stream.fileno

    def sendall(self, data: bytes) -> None:
        try:
            self._stream.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            # As a socket would raise: urllib3 then still reads the answer, which tells the reason (a 413, for example).
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error

    def makefile(self, mode: str = "rb", buffering: int | None = None) -> io.BufferedReader:
        if mode != "rb":
            raise ValueError("a stream's file is for reading bytes")
        self._files += 1
        return io.BufferedReader(_StreamReader(self), buffering or 65536)

    def close(self) -> None:
        self._closed = True
        if self._files <= 0:
            self._stream.close()

    def file_closed(self) -> None:
        self._files -= 1
        if self._closed and self._files <= 0:
            self._stream.close()


class _StreamReader(io.RawIOBase):
    def __init__(self, owner: _StreamSocket) -> None:
        super().__init__()
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # typeshed's Buffer has no len
        data = self._owner.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner.file_closed()
