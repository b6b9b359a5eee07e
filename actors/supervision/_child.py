"""What a supervisor remembers about one child, over all its lives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from actors.supervision._events import Event, EventKind
from actors.supervision._incarnation import Incarnation, Phase
from actors.supervision._restarts import Attempts, Backoff

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from actors.supervision._spec import ChildSpec
    from actors.supervision._timers import Clock


class Child:
    """One child; for the supervisor's thread alone.

    Attributes:
        incarnation: Its present life, None while it is down.
        generation: The number of its present or last life.
        restarts: How often it was started again.
        due: When to start it again, None unless it waits for that.
        finished: Whether it is down for good.
        error: Why its last life ended, None if it ended well.
        last_uptime: Seconds that its last life was up.
    """

    def __init__(self, spec: ChildSpec, backoff: Backoff, random: Callable[[], float]) -> None:
        self.spec = spec
        self.id = spec.id
        self.attempts = Attempts(backoff, random)
        self.incarnation: Incarnation | None = None
        self.generation = 0
        self.restarts = 0
        self.due: float | None = None
        self.finished = False
        self.error: BaseException | None = None
        self.last_uptime = 0.0

    @property
    def running(self) -> bool:
        """Whether it is up and takes messages."""
        return self.incarnation is not None and self.incarnation.phase is Phase.RUNNING

    def new_incarnation(self, changed: threading.Condition, clock: Clock) -> Incarnation:
        """The next life, not yet begun."""
        self.generation += 1
        self.finished = False
        self.due = None
        self.incarnation = Incarnation(self.id, self.generation, health=self.spec.health, changed=changed, clock=clock)
        return self.incarnation

    def forget(self, now: float) -> None:
        """Its life is over; keep why and how long it was."""
        if self.incarnation is not None:
            ended = self.incarnation.leaving_at
            self.last_uptime = self.incarnation.uptime(now if ended is None else ended)
            self.error = self.incarnation.error
            self.incarnation = None

    def wait_until(self, due: float) -> None:
        """It will be started again, not before `due`."""
        self.due = due if self.due is None else max(self.due, due)
        self.finished = False

    def finish(self) -> None:
        """It will not be started again."""
        self.due = None
        self.finished = True

    def has_left(self, now: float) -> bool:
        """Whether its life is over, or should be by now."""
        incarnation = self.incarnation
        return incarnation is not None and (incarnation.over or incarnation.abandoned or now >= self.leave_by)

    @property
    def leave_by(self) -> float:
        """When a life that has begun to leave must be over; infinite for any other."""
        if self.incarnation is None or self.incarnation.leaving_at is None:
            return math.inf
        return self.incarnation.leaving_at + self.spec.shutdown

    def event(self, kind: EventKind) -> Event:
        """An event about its present life, or the last one."""
        return Event(kind, self.id, self.generation, self.restarts)
