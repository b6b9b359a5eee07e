"""A supervisor of one process, for programs with an event loop of their own. Standard library only; no actors."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

from actors.supervision._process import Ended, Process
from actors.supervision._restarts import Attempts, Backoff, RestartWindow, check_reachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._spec import ChildSpec


def fraction() -> float:
    """Return a random number from 0 to 1. Importing `random` would take longer than the rest of this module."""
    return int.from_bytes(os.urandom(4), "big") / 0xFFFFFFFF


class ProcessSupervisor:
    """Keeps one process running, by the rules of `Supervisor`. It has no thread and never blocks: the owner drives it.

    The owner calls `tick` after the seconds that the last call returned, and after each SIGCHLD. An owner that collects
    all its children itself passes their wait statuses to `ended`.

    Args:
        spec: The child's specification, with a `Program` as its `start`.
        intensity: This many restarts within `period` seconds are fine; one more gives up.
        period: Seconds.
        backoff: The wait before a restart.
        on_start: Called after every start that succeeded, for example to write to the process's stdin.
        clock: Returns seconds that never jump.
        random: Returns numbers from 0 to 1, for the jitter.

    Attributes:
        restarts: How often a restart was planned.
        gave_up: Whether the process failed too often, and is not restarted any more.
        error: Why the process last ended; empty if it ended well.

    Raises:
        ValueError: With these limits it would never give up.
    """

    def __init__(
        self,
        spec: ChildSpec,
        *,
        intensity: int = 5,
        period: float = 30.0,
        backoff: Backoff | None = None,
        on_start: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = fraction,
    ) -> None:
        self.restarts = 0
        self.gave_up = False
        self.error = ""
        self._spec = spec
        self._window = RestartWindow(intensity, period)
        backoff = Backoff() if backoff is None else backoff
        check_reachable(self._window, backoff)
        self._attempts = Attempts(backoff, random)
        self._on_start = on_start
        self._clock = clock
        self._process: Process | None = None
        self._started = 0.0
        self._due: float | None = None
        self._closing = False

    @property
    def pid(self) -> int:
        """The PID of the process; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process. A failed start counts as a failure of the process, so nothing is raised."""
        self._due = None
        self._started = self._clock()
        process = Process(self._spec)
        try:
            process.start(self._started)
        except OSError as error:
            self._decide(Ended(f"{error.strerror}", None))
            return
        self._process = process
        self._on_start()

    def tick(self) -> float | None:
        """Do what is due; return the seconds until the next call, None if nothing is planned."""
        if self._process is not None and (ended := self._process.step(self._clock())) is not None:
            self._decide(ended)
        while self._due is not None:
            if (left := self._due - self._clock()) > 0:
                return left
            self.start()
        if self._process is None or self._process.due == math.inf:
            return None
        return max(0.0, self._process.due - self._clock())

    def ended(self, pid: int, wait_status: int) -> bool:
        """Take the wait status of a child that the owner has collected; return whether it was this process."""
        if self._process is None or pid != self._process.pid:
            return False
        self._decide(self._process.ended(wait_status))
        return True

    def write(self, data: bytes) -> None:
        """Write to the process's stdin, if it runs: see `Process.write`."""
        if self._process is not None:
            self._process.write(data)

    def close(self, patience: float = math.inf) -> None:
        """Ask the process to end, see `Process.request_stop`, and do not start it again."""
        self._closing = True
        self._due = None
        if self._process is not None:
            self._process.request_stop(self._clock(), patience)

    def _decide(self, ended: Ended) -> None:
        """Plan a restart, or give up, after the end of the process."""
        self._process = None
        self.error = ended.error
        if self._closing or not self._spec.restart.after(failed=bool(ended.error)):
            return
        now = self._clock()
        if not self._window.record(now):
            self.gave_up = True
            return
        self.restarts += 1
        self._due = now + self._attempts.next_delay(now - self._started)
