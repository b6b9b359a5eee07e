"""One child over all its lives: started, stopped, given up for lost, each within its deadline; and told, as events.

Nothing is decided here: who is started again, and when the tree gives up, is the supervisor's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from actors.supervision._bodies import make_body
from actors.supervision._context import Context
from actors.supervision._events import Event, EventKind
from actors.supervision._incarnation import Incarnation, Phase, WedgedError
from actors.supervision.debug import describe, stack_of

if TYPE_CHECKING:
    from actors.supervision._restarts import Attempts
    from actors.supervision._shared import Shared
    from actors.supervision._spec import ChildSpec


class Child:
    """One child; for the supervisor's thread alone, which waits here.

    Attributes:
        incarnation: Its present life, None while it is down.
        generation: The number of its present or last life.
        restarts: How often it was started again.
        due: When to start it again, None unless it waits for that.
        finished: Whether it is down for good.
        terminated: Whether it is so because somebody wanted it to be.
        passing: Whether nobody will want it again once it is down.
        error: Why its last life ended, None if it ended well.
        last_uptime: Seconds that its last life was up.
    """

    def __init__(self, spec: ChildSpec, attempts: Attempts, shared: Shared, *, passing: bool = False) -> None:
        self.spec = spec
        self.id = spec.id
        self.attempts = attempts
        self.incarnation: Incarnation | None = None
        self.generation = 0
        self.restarts = 0
        self.due: float | None = None
        self.finished = False
        self.terminated = False
        self.passing = passing
        self.error: BaseException | None = None
        self.last_uptime = 0.0
        self._shared = shared
        shared.directory.add(spec.id, spec.mailbox)

    # --- What it is ---------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it is up and takes messages."""
        return self.incarnation is not None and self.incarnation.phase is Phase.RUNNING

    def has_left(self, now: float) -> bool:
        """Whether its life is over, or should be by now."""
        life = self.incarnation
        return life is not None and (life.over or life.abandoned or now >= self.leave_by)

    @property
    def leave_by(self) -> float:
        """When a life that has begun to leave must be over; infinite for any other."""
        if self.incarnation is None or self.incarnation.leaving_at is None:
            return math.inf
        return self.incarnation.leaving_at + self.spec.shutdown

    def event(self, kind: EventKind) -> Event:
        """An event about its present life, or the last one."""
        return Event(kind, self.id, self.generation, self.restarts)

    # --- What is done to it -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin its next life, and wait until it is up, or has failed, or the tree has to stop."""
        spec, shared = self.spec, self._shared
        self.generation += 1
        self.finished = self.terminated = False
        self.due = None
        self.incarnation = life = Incarnation(
            self.id, self.generation,
            health=spec.health, changed=shared.changed, clock=shared.clock, watch=shared.health,
        )  # fmt: skip
        shared.directory.expect(self.id)
        context = Context(shared.directory, shared.timers, shared.clock, life, shared.emit)
        life.launch(lambda: make_body(spec, context))
        until = shared.clock.monotonic() + spec.startup
        shared.wait(lambda: life.phase is not Phase.STARTING or shared.stop_requested, lambda: until)
        if life.came_up:  # also if it has ended by now
            shared.emit(self.event(EventKind.STARTED))
        elif life.phase is Phase.STARTING and not shared.stop_requested:
            self.abandon(WedgedError(f"not up after {spec.startup:g} s"))

    def stop(self, share: float = math.inf) -> None:
        """Stop it within its deadline, and `share` seconds; abandon it if it does not."""
        life, shared = self.incarnation, self._shared
        if life is None:
            return
        if not life.abandoned:
            now = shared.clock.monotonic()
            patience = min(self.spec.shutdown, share)
            life.request_stop(patience)
            # First it may work off its mailbox. If that takes too long, what is left there is given up, not the actor.
            if not shared.wait(lambda: life.over, lambda: now + patience / 2):
                life.hurry()
                if not shared.wait(lambda: life.over, lambda: now + patience):
                    self.abandon(WedgedError(f"not down after {patience:g} s"))
        self.bury()

    def bury(self) -> None:
        """Tell how its life ended, and forget it; one that should be over by now, and is not, is abandoned."""
        life = self.incarnation
        if life is None:
            return
        if life.phase is not Phase.ENDED and not life.abandoned:
            self.abandon(WedgedError("its thread is gone" if life.lost else f"not down after {self.spec.shutdown:g} s"))
        if life.error is None:
            self._shared.emit(self.event(EventKind.ENDED))
        else:
            event = self.event(EventKind.CRASHED)
            self._shared.emit(event._replace(error=describe(life.error), trace=life.trace))
        now = self._shared.clock.monotonic()
        self.last_uptime = life.uptime(now if life.leaving_at is None else life.leaving_at)
        self.error = life.error
        self.incarnation = None

    def abandon(self, error: WedgedError) -> None:
        """Give a thread up for lost; nothing that it does counts from now on."""
        life, shared = self.incarnation, self._shared
        if life is None:
            return
        shared.directory.abandon(life)
        life.abandon()
        life.leave(error)
        shared.ghosts.add(life, error, shared.clock.monotonic())
        shared.emit(self.event(EventKind.ABANDONED)._replace(error=describe(error), trace=stack_of(life.thread)))

    def wait_until(self, due: float) -> None:
        """It will be started again, not before `due`; messages are kept for it."""
        self.due = due if self.due is None else max(self.due, due)
        self.finished = False
        self._shared.directory.expect(self.id)

    def retire(self) -> None:
        """It will not be started again; messages to it are refused from now on."""
        self._shared.directory.retire(self.id)
        self.due = None
        self.finished = True
