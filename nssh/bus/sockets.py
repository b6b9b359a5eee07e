"""Connections that another thread can cut, and byte streams that http.client takes for sockets."""

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
    """The open connections of one HTTP session, so that any thread can end the reads and writes on them at once.

    Closing a file descriptor under a blocked `recv` neither wakes it nor is safe (the number may be reused), so a
    duplicate of the socket is kept and shut down: that wakes every thread that uses it, TLS or not. A stream that is no
    socket is closed instead: a ByteStream's own `close` wakes its readers.
    """

    def __init__(self, *, once: bool = False) -> None:
        """Make an empty one.

        Args:
            once: For a stream's one connection: `forget` leaves it, because http.client lets go of a connection while
                its answer is still being read, and every connection that is added after a `cut` is refused.
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
        """Remember the connection that `owner` has now, in place of an earlier one.

        Raises:
            ConnectionAbortedError: `cut` was called before, with `once`.
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
    def last_words(self) -> str:
        """The last line that a dialled command wrote to its stderr, made printable; "" if there is none."""
        text = getattr(self._dialled, "stderr", "")
        lines = text.strip().splitlines() if isinstance(text, str) else []
        return "".join(character for character in lines[-1][:200] if character.isprintable()) if lines else ""

    def connected(self, sock: ByteStream) -> None:
        """Take note of a connection that is ready for requests: behind TLS this is another object than was added."""
        self._newest = sock

    def set_timeout(self, seconds: float) -> None:
        """Set how long the newest connection waits for bytes; for the thread that uses it."""
        if self._newest is not None:
            self._newest.settimeout(seconds)

    def forget(self, owner: object) -> None:
        """Drop the connection of `owner`, which is closed now; unknown owners are fine."""
        if self._once:
            return
        with self._lock:
            handle = self._handles.pop(id(owner), None)
        if handle is not None:
            handle.release()

    def cut(self) -> None:
        """End all connections now; callable from any thread, any number of times, does not block."""
        with self._lock:
            self.cuts += 1
            handles, self._handles = list(self._handles.values()), {}
            self._off = self._off or self._once
        for handle in handles:
            handle.cut()


class _Handle:
    """What is needed to cut one connection, whatever its user does with it meanwhile."""

    def __init__(self, sock: ByteStream) -> None:
        self._socket: socket.socket | None = None
        self._stream: ByteStream | None = None
        if isinstance(sock, socket.socket):
            self._socket = socket.socket(fileno=os.dup(sock.fileno()))
        else:
            self._stream = sock

    def cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # not connected yet, or ended already: nothing left to wake
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
    """A byte stream with `makefile`, and with a socket's rule that it stays open until its files are closed, too."""

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
            # What a socket would say: then the answer is read all the same, and tells why (413, say).
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
