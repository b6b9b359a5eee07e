"""Decide what to do to one process, and when. Pure: the caller has the process and the time.

A missing heartbeat is confirmed by a second look. The supervising process may have been stopped itself (SIGSTOP, a
machine that swaps), and the process with it. So the second look follows later, and counts only if it is not late, too.
"""

from __future__ import annotations

import enum
import math

CONFIRM = 0.1
"""The time between the two looks, as a fraction of the limit that was passed."""


class Phase(enum.Enum):
    """How far a process got."""

    STARTING = "starting"  # until its first heartbeat; skipped if it writes none
    RUNNING = "running"
    STOPPING = "stopping"  # it was asked to end
    KILLED = "killed"  # by the supervisor, because a deadline had passed


class Act(enum.Enum):
    """What to do to the process now."""

    ASK = "ask"  # close its stdin, if that is a pipe from the supervisor; otherwise SIGTERM
    TERMINATE = "terminate"  # SIGTERM
    KILL = "kill"  # SIGKILL


class Plan:
    """The deadlines of one incarnation of a process.

    Args:
        now: The time of its start, in seconds of a clock that never jumps.
        startup: Seconds until its first heartbeat.
        shutdown: Seconds from the request to stop until it has ended: after half of them it gets SIGTERM.
        health: Seconds without a heartbeat after which it is killed; None if it writes none.

    Attributes:
        phase: How far it got.
        due: The time to call `look` at the latest; infinite if nothing is planned.
        overdue: Why it is killed, in one line; empty if it is not killed.
    """

    def __init__(self, now: float, *, startup: float, shutdown: float, health: float | None) -> None:
        self.phase = Phase.RUNNING if health is None else Phase.STARTING
        self.overdue = ""
        self._startup = startup
        self._shutdown = shutdown
        self._health = math.inf if health is None else health
        self._deadline = math.inf if health is None else now + startup
        self._confirm_at: float | None = None
        self._next: Act | None = None  # the step of stopping that comes at the deadline
        self._half = shutdown / 2

    @property
    def due(self) -> float:
        return self._deadline if self._confirm_at is None else self._confirm_at

    def request_stop(self, now: float, patience: float = math.inf) -> None:
        """Have the process end within `patience` seconds, or within `shutdown` if that is less.

        A second request can shorten the time of the first one, not prolong it.
        """
        half = min(patience, self._shutdown) / 2
        if self.phase is Phase.KILLED or (self.phase is Phase.STOPPING and half >= self._half):
            return
        self._half = half
        if self.phase is Phase.STOPPING:
            self._deadline = min(self._deadline, now + half)
            return
        self.phase, self._next, self._deadline, self._confirm_at = Phase.STOPPING, Act.ASK, now, None

    def look(self, now: float, *, heard: bool) -> Act | None:
        """Return what to do to the process now, None for nothing. Call it when `due`; earlier calls do no harm.

        Args:
            now: The time.
            heard: Whether heartbeats have come since the last look.
        """
        if self.phase is Phase.STOPPING:
            return self._stop(now)
        if heard and self.phase is not Phase.KILLED:
            self.phase, self._deadline, self._confirm_at = Phase.RUNNING, now + self._health, None
        elif self._is_overdue(now):
            silence = f"not up after {self._startup:g} s"
            if self.phase is Phase.RUNNING:
                silence = f"no heartbeat for {self._health:g} s"
            return self.kill(silence)
        return None

    def kill(self, reason: str) -> Act:
        """Note that the process is killed, for `reason`; return the act."""
        self.phase, self.overdue, self._deadline, self._confirm_at = Phase.KILLED, reason, math.inf, None
        return Act.KILL

    def _stop(self, now: float) -> Act | None:
        if now < self._deadline or self._next is None:
            return None
        act = self._next
        if act is Act.KILL:
            return self.kill(f"not down after {2 * self._half:g} s")
        # The time of a step begins when it is done: a supervisor that was stopped meanwhile must not skip a step.
        self._deadline = now + self._half
        self._next = Act.TERMINATE if act is Act.ASK else Act.KILL
        return act

    def _is_overdue(self, now: float) -> bool:
        if now < self.due:
            return False
        patience = CONFIRM * (self._startup if self.phase is Phase.STARTING else self._health)
        if self._confirm_at is None or now > self._confirm_at + patience:
            self._confirm_at = now + patience
            return False
        return True
