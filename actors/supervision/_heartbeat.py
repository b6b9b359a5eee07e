"""Heartbeats: how a process tells whoever keeps it that it is well; both ends of the pipe.

A beat is one byte. Nobody waits for it: the keeper reads what has come when a deadline of its own has passed, so that a
pair at rest wakes up as seldom as the beats are written.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DESCRIPTOR = 3
"""Where a child finds the pipe's writing end."""
VARIABLE = "SUPERVISION_HEARTBEAT"
"""The environment variable that tells a child of it: the pipe's inode, so that no other file can be taken for it."""
INTERVAL = 1.0
"""Seconds between two beats that are written at the least; who calls oftener, or just too early, loses no more."""


class Heartbeat:
    """The child's end. Not for several threads at once."""

    def __init__(self, fd: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fd = fd
        self._clock = clock
        self._last: float | None = None

    @classmethod
    def adopt(cls) -> Heartbeat:
        """Take over the pipe that this process was started with; without one, beats go nowhere.

        To be called once, early, and before any other program is started: that must not inherit it.
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
        """Tell that all is well, unless that was told a moment ago. Never blocks, never fails."""
        now = self._clock()
        if self._fd < 0 or (self._last is not None and now - self._last < INTERVAL):
            return
        self._last = now
        try:
            os.write(self._fd, b".")
        except BlockingIOError:
            return  # the keeper is stopped, and finds enough beats when it goes on
        except BrokenPipeError:
            self._fd = -1  # it is gone


class Pulse:
    """The keeper's end.

    Attributes:
        fd: Readable when beats have come.
        writer: For the child that is about to be started; whoever starts it closes it here.
        variable: What that child's environment needs.
    """

    def __init__(self) -> None:
        self.fd, self.writer = os.pipe()
        os.set_blocking(self.fd, False)
        self.variable = {VARIABLE: str(os.fstat(self.fd).st_ino)}

    def heard(self) -> bool:
        """Whether beats have come since the last call."""
        try:
            return bool(os.read(self.fd, 1 << 16))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Forget it."""
        os.close(self.fd)
