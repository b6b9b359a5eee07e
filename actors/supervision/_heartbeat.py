"""Heartbeats: both ends of the pipe by which a child process tells its supervisor that it is well.

A beat is one byte. The supervisor does not wait for it: it reads the pipe when the deadline for a beat has passed, so
that beats do not wake it up.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DESCRIPTOR = 3
"""The child's file descriptor of the pipe's writing end."""
VARIABLE = "SUPERVISION_HEARTBEAT"
"""The environment variable with the pipe's inode, by which the child makes sure that the descriptor is the pipe."""
INTERVAL = 1.0
"""Seconds between two beats at the least: earlier calls of `beat` write nothing."""


class Heartbeat:
    """The child's end of the pipe. For one thread at a time."""

    def __init__(self, fd: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fd = fd
        self._clock = clock
        self._last: float | None = None

    @classmethod
    def adopt(cls) -> Heartbeat:
        """Take the pipe that this process was started with; if there is none, `beat` does nothing.

        Call it once, before the process starts any other program, which must not inherit the pipe.
        """
        inode = os.environ.pop(VARIABLE, "")
        try:
            found = os.fstat(DESCRIPTOR)
        except OSError:
            return cls(-1)
        if not stat.S_ISFIFO(found.st_mode) or str(found.st_ino) != inode:
            return cls(-1)
        os.set_inheritable(DESCRIPTOR, False)  # noqa: FBT003 - its only argument
        os.set_blocking(DESCRIPTOR, False)
        return cls(DESCRIPTOR)

    def beat(self) -> None:
        """Write a beat, unless the last one is less than `INTERVAL` ago. Never blocks, never raises."""
        now = self._clock()
        if self._fd < 0 or (self._last is not None and now - self._last < INTERVAL):
            return
        self._last = now
        try:
            os.write(self._fd, b".")
        except BlockingIOError:
            return  # the pipe is full: the supervisor is stopped, and has enough beats to read when it goes on
        except BrokenPipeError:
            self._fd = -1  # the supervisor has gone


class Pulse:
    """The supervisor's end of the pipe.

    Attributes:
        fd: The reading end; readable when beats have come.
        writer: The writing end, for the child. The caller closes it once the child is started.
        variable: What to add to the child's environment.
    """

    def __init__(self) -> None:
        self.fd, self.writer = os.pipe()
        os.set_blocking(self.fd, False)
        self.variable = {VARIABLE: str(os.fstat(self.fd).st_ino)}

    def heard(self) -> bool:
        """Return whether beats have come since the last call."""
        try:
            return bool(os.read(self.fd, 1 << 16))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close the reading end."""
        os.close(self.fd)
