"""Reads one event log while another process writes and rotates it; begins at a time, or some events before the end."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST: Final = 1 << 18
"""Bytes of one line. Of a longer line only the beginning is returned."""

_CHUNK: Final = 1 << 14
_BEGINNING: Final = 1000
_TIME = re.compile(rb'"ts": ?"([^"]{10,40})"')


def when(line: bytes) -> float | None:
    """Return when an event was written, in seconds since the epoch; None if the line does not tell."""
    found = _TIME.search(line, 0, 4096)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1].decode("ascii"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


class LogFile:
    """A log and its predecessor `<path>.1`, as `nssh.log.event_log` writes and rotates them. For one thread.

    The file that is being read stays open, so a rotation loses nothing, even if it removes that file. Reading begins
    with the first line of the predecessor, unless one of the `from_…` methods is called before.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._position = 0
        self._skipping = False
        self._not_before: float | None = None

    def mark(self) -> tuple[int, int] | None:
        """Return inode and position for `from_mark`; None if no file is open."""
        return None if self._fd < 0 else (os.fstat(self._fd).st_ino, self._position)

    def from_time(self, cutoff: float) -> None:
        """Begin with the first event at or after a time, in seconds since the epoch. Searches from the end."""
        self._not_before = cutoff
        for name in (self._path, f"{self._path}.1"):
            fd = _open(name)
            if fd < 0:
                continue
            self._take(fd, _find_before(fd, cutoff))
            if self._position > 0:
                return  # an older event is in this file, so the predecessor is not needed

    def from_last(self, count: int) -> None:
        """Begin `count` events before the end."""
        for name in (self._path, f"{self._path}.1"):
            fd = _open(name)
            if fd < 0:
                continue
            position, count = _find_last(fd, count)
            self._take(fd, position)
            if count <= 0:
                return

    def from_mark(self, inode: int, position: int) -> None:
        """Begin at a position of the file with an inode, even if it was rotated; at the beginning if it is gone."""
        for name in (self._path, f"{self._path}.1"):
            fd = _open(name)
            if fd >= 0 and os.fstat(fd).st_ino == inode:
                self._take(fd, position)
                return
            _close(fd)

    def lines(self) -> Iterator[bytes]:
        """Yield the complete lines that are new, without their line ends, across rotations."""
        if self._fd < 0:
            newest, older = _open(self._path), _open(f"{self._path}.1")
            first = newest if older < 0 else older
            if first < 0:
                return
            _close(newest if first != newest else -1)
            self._take(first, 0)
        while True:
            yield from self._rest()
            successor = self._successor()
            if successor < 0:
                return
            yield from self._rest()  # lines written before the rotation was noticed
            self._take(successor, 0)

    def close(self) -> None:
        """Close the file. A later `lines` begins at the beginning."""
        _close(self._fd)
        self._fd = -1

    def _take(self, fd: int, position: int) -> None:
        _close(self._fd)
        self._fd, self._position, self._skipping = fd, position, False

    def _successor(self) -> int:
        """Open the file in which the log continues after the present one; return -1 if there is none (yet)."""
        # Open the newest first: if it is rotated meanwhile, it is found again as the older one.
        newest, older = _open(self._path), _open(f"{self._path}.1")
        if older < 0 or self._is_ours(older):
            chosen = newest
        elif newest >= 0 and self._is_ours(newest):
            chosen = -1
        else:
            chosen = older  # rotated twice since the last call
        for fd in {newest, older} - {chosen}:
            _close(fd)
        if chosen >= 0 and self._is_ours(chosen):
            _close(chosen)
            return -1
        return chosen

    def _is_ours(self, fd: int) -> bool:
        return os.path.samestat(os.fstat(self._fd), os.fstat(fd))

    def _rest(self) -> Iterator[bytes]:
        """Yield the complete lines up to the file's present end."""
        end = os.fstat(self._fd).st_size
        if end < self._position:
            self._take(os.dup(self._fd), 0)  # the file was truncated
        buffer = b""
        while (start := self._position + len(buffer)) < end and (
            chunk := os.pread(self._fd, min(_CHUNK, end - start), start)
        ):
            *whole, buffer = (buffer + chunk).split(b"\n")
            for line in whole:
                self._position += len(line) + 1
                skipped, self._skipping = self._skipping, False
                if not skipped and self._is_wanted(line):
                    yield line
            if len(buffer) > LONGEST or (self._skipping and buffer):
                self._position += len(buffer)
                skipped, self._skipping = self._skipping, True
                if not skipped and self._is_wanted(buffer):
                    yield buffer[:_BEGINNING]
                buffer = b""

    def _is_wanted(self, line: bytes) -> bool:
        if self._not_before is None:
            return True
        moment = when(line)
        if moment is None or moment < self._not_before:
            return False
        self._not_before = None  # all further lines are wanted, even if the clock was set back
        return True


def _open(path: str) -> int:
    """Open a regular file; return -1 if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return -1


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _find_before(fd: int, cutoff: float) -> int:
    """Return a position after an event that is older than `cutoff`, and close to it; 0 if there is none."""
    block = 1 << 16
    start = os.fstat(fd).st_size
    while start > 0:
        start = max(0, start - block)
        data = os.pread(fd, block, start)
        # A line that began before this block is read with the block before.
        position = data.find(b"\n") + 1 if start else 0
        while (stop := data.find(b"\n", position)) >= 0:
            moment = when(data[position:stop])
            if moment is None:
                position = stop + 1
                continue
            if moment < cutoff:
                return start + stop + 1  # after that line, so that 0 means that the whole file is wanted
            break
    return 0


def _find_last(fd: int, count: int) -> tuple[int, int]:
    """Return where the last `count` lines begin, and by how many lines the file is too short."""
    block = 1 << 16
    end = os.fstat(fd).st_size
    start, wanted, found = end, count, end
    while start > 0 and end - start < 16 * block:
        start = max(0, start - block)
        data = os.pread(fd, min(block, end - start), start)
        stop = len(data)
        while (stop := data.rfind(b"\n", 0, stop)) >= 0:
            found = start + stop + 1
            if wanted == 0:
                return found, 0
            wanted -= 1
    return (0, wanted) if start == 0 else (found, 0)  # stop after 1 MiB, even with fewer lines
