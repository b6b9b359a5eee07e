"""Streams to remote commands: the local end, which any thread may close."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 16
_TAIL = 4096  # bytes of stderr kept of a stream, for an error's text


class ClosableStream:
    """Base of streams: one thread may receive while another sends, and any thread may call `close`.

    `close` calls `_wake`, which ends the calls that other threads are in. The last of them to return calls `_end`,
    which closes the descriptors. Closing a descriptor earlier would not wake a thread that waits on it, and its number
    could be reused under that thread.
    """

    def __init__(self) -> None:
        self._timeout: float | None = None
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False
        self._ended = False

    def settimeout(self, seconds: float | None, /) -> None:
        """See `ByteStream`."""
        self._timeout = seconds

    def close(self) -> None:
        """See `ByteStream`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake()
        self._end_if_idle()

    def _wake(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    @contextlib.contextmanager
    def _inside(self) -> Iterator[bool]:
        """Count the calling thread as a user of the stream; yield whether the stream is still open."""
        with self._lock:
            usable = not self._closed
            self._users += usable
        try:
            yield usable
        finally:
            with self._lock:
                self._users -= usable
            self._end_if_idle()

    def _end_if_idle(self) -> None:
        with self._lock:
            if not self._closed or self._users or self._ended:
                return
            self._ended = True
        self._end()


class SocketStream(ClosableStream):
    """A remote command's stdin and stdout as one stream, over our half of a socket pair.

    `recv` and `sendall` also read the command's stderr, so that it never fills up, and keep the end of it.
    """

    def __init__(self, sock: socket.socket, stderr: int | None, on_close: Callable[[], None]) -> None:
        """Take over `sock` and the read end `stderr`.

        Args:
            sock: Our half of the socket pair.
            stderr: A descriptor to read the command's stderr from, or None.
            on_close: Ends the command or its connection; called once, on the thread that calls `close`.
        """
        super().__init__()
        self._sock = sock
        self._sock.setblocking(False)  # noqa: FBT003, it has no keyword
        self._stderr = stderr
        if stderr is not None:
            os.set_blocking(stderr, False)
        self._spent: int | None = None
        self._on_close = on_close
        self._tail = b""

    def fileno(self) -> int:
        """See `ByteStream`."""
        return self._sock.fileno()

    @property
    def stderr(self) -> str:
        """The end of what the command wrote to stderr so far, at most 4096 bytes."""
        return self._tail.decode("utf-8", "replace")

    def recv(self, size: int, /) -> bytes:
        """See `ByteStream`."""
        deadline = self._deadline()
        with self._inside() as usable:
            while usable and not self._closed:
                try:
                    return self._sock.recv(size)
                except BlockingIOError:
                    self._wait(select.POLLIN, deadline)
                except ConnectionError:
                    break  # reset: the other end is gone and has not read all our bytes; to the caller, an end
        return b""

    def sendall(self, data: bytes, /) -> None:
        """See `ByteStream`.

        Raises:
            OSError: The command or the connection is gone.
        """
        deadline = self._deadline()
        view = memoryview(data)
        with self._inside():
            while view:
                if self._closed:
                    raise BrokenPipeError(errno.EPIPE, "the stream is closed")
                try:
                    view = view[self._sock.send(view[:_CHUNK]) :]
                except BlockingIOError:
                    self._wait(select.POLLOUT, deadline)

    def send_eof(self) -> None:
        """See `Channel`."""
        with self._inside() as usable:
            if usable:
                self._sock.shutdown(socket.SHUT_WR)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # already disconnected
            self._sock.shutdown(socket.SHUT_RDWR)
        self._on_close()

    def _end(self) -> None:
        self._sock.close()
        for file in (self._stderr, self._spent):
            if file is not None:
                os.close(file)

    def _wait(self, events: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self._sock, events)
        with self._lock:
            stderr = self._stderr
            if stderr is not None:
                poll.register(stderr, select.POLLIN)
        remaining = None if deadline is None else deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            raise TimeoutError("timed out")
        ready = {file for file, _ in poll.poll(None if remaining is None else remaining * 1000)}
        if stderr in ready:
            self._drain()

    def _drain(self) -> None:
        with self._lock:
            if self._stderr is None:
                return
            try:
                self._tail = (self._tail + (part := os.read(self._stderr, _CHUNK)))[-_TAIL:]
            except BlockingIOError:  # another thread has read it
                return
            if not part:
                # Closed with the stream, not now: another thread may poll it, and the number must not be reused.
                self._spent, self._stderr = self._stderr, None
