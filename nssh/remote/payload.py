"""Keep what is copied or pasted: a little in memory, more in a private file without a name."""

from __future__ import annotations

import os

from nssh.remote.failure import Failure
from nssh.wire.files import state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MEMORY = 256 << 10
"""Bytes that are kept in memory; larger content goes to a file."""

_PIECE = 256 << 10


class Payload:
    """Bytes that are written once, and may be read several times, as by the retries of an upload.

    Args:
        limit: The most bytes that may be written.
        what: The content's name in error texts.
    """

    def __init__(self, limit: int, what: str = "the input") -> None:
        self.size = 0
        self.limit = limit
        self._what = what
        self._memory = bytearray()
        self._fd = -1

    def write(self, data: bytes) -> None:
        """Append `data`. Raises Failure if that is too much, or no space is left."""
        self.size += len(data)
        if self.size > self.limit:
            raise Failure("%s is larger than %s, the most that can be sent" % (self._what, describe(self.limit)))
        if self._fd < 0:
            self._memory += data
            if len(self._memory) <= IN_MEMORY:
                return
            data = bytes(self._memory)
            self._memory.clear()
            self._open()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise Failure("can't keep %s in %s: %s" % (self._what, state_dir(), error.strerror)) from None

    def _open(self) -> None:
        name = os.path.join(state_dir(), ".payload-%s" % os.urandom(8).hex())
        try:
            # Not in /tmp, which may be in memory. The name is removed before anything is written.
            self._fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.unlink(name)
        except OSError as error:
            raise Failure("can't keep %s in %s: %s" % (self._what, state_dir(), error.strerror)) from None

    def read_from(self, fd: int) -> None:
        """Append all that can be read from a descriptor. Raises Failure."""
        while True:
            try:
                piece = os.read(fd, _PIECE)
            except BlockingIOError:
                wait_for(fd)
                continue
            except OSError as error:
                raise Failure("can't read %s: %s" % (self._what, error.strerror)) from None
            if not piece:
                return
            self.write(piece)

    def clear(self) -> None:
        """Drop the content."""
        self.size = 0
        self._memory.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def head(self, count: int) -> bytes:
        """Return the first `count` bytes, or fewer if there are no more."""
        return bytes(self._memory[:count]) if self._fd < 0 else os.pread(self._fd, count, 0)

    def pieces(self) -> Iterator[bytes]:
        """Yield the content from its beginning, in pieces of 256 KiB at most."""
        if self._fd < 0:
            if self._memory:
                yield bytes(self._memory)
            return
        position = 0
        while position < self.size:
            piece = os.pread(self._fd, min(_PIECE, self.size - position), position)
            if not piece:
                return
            position += len(piece)
            yield piece

    def drop_last_newline(self) -> None:
        """Remove one newline at the end, if there is one."""
        if not self.size:
            return
        last = self._memory[-1:] if self._fd < 0 else os.pread(self._fd, 1, self.size - 1)
        if last != b"\n":
            return
        self.size -= 1
        if self._fd < 0:
            del self._memory[-1:]
        else:
            os.ftruncate(self._fd, self.size)


def wait_for(fd: int, *, output: bool = False) -> None:
    """Wait until a descriptor is ready that another process, which shares it, has made non-blocking."""
    from select import POLLIN, POLLOUT, poll

    poller = poll()
    poller.register(fd, POLLOUT if output else POLLIN)
    poller.poll()


def describe(size: int) -> str:
    """Return a size for the user, as `64 MiB`."""
    return (
        "%d MiB" % (size >> 20)
        if size >= 1 << 20
        else "%d KiB" % (size >> 10)
        if size >= 1 << 10
        else "%d bytes" % size
    )
