"""One child through all its incarnations: starts, stops and abandons it within its deadlines, and emits its events.

The supervisor decides what is done: which children are started again, and when the tree gives up.
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
    """One child. Used by the supervisor's thread only, which blocks in `start` and `stop`.

    Attributes:
        incarnation: The present incarnation; None while the child is down.
        generation: The number of the present or last incarnation.
        restarts: How often the child was started again.
        due: When to start it again; None unless it waits for a restart.
        finished: Whether it is down for good.
        terminated: Whether it is down because of `Supervisor.terminate_child`.
        forgettable: Whether the child is forgotten once it is down for good.
        error: Why the last incarnation ended; None if it ended well.
        last_uptime: Seconds that the last incarnation was up.
    """

    def __init__(self, spec: ChildSpec, attempts: Attempts, shared: Shared, *, forgettable: bool = False) -> None:
        self.spec = spec
        self.id = spec.id
        self.attempts = attempts
        self.incarnation: Incarnation | None = None
        self.generation = 0
        self.restarts = 0
        self.due: float | None = None
        self.finished = False
        self.terminated = False
        self.forgettable = forgettable
        self.error: BaseException | None = None
        self.last_uptime = 0.0
        self._shared = shared
        shared.directory.add(spec.id, spec.mailbox)

    # --- Its state ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it is up and takes messages."""
        return self.incarnation is not None and self.incarnation.phase is Phase.RUNNING

    def has_left(self, now: float) -> bool:
        """Return whether the incarnation is over, or should be: it is abandoned, or late in ending."""
        life = self.incarnation
        return life is not None and (life.over or life.abandoned or now >= self.leave_by)

    @property
    def leave_by(self) -> float:
        """When an incarnation that has begun to end must be over; infinite if it has not."""
        if self.incarnation is None or self.incarnation.leaving_at is None:
            return math.inf
        return self.incarnation.leaving_at + self.spec.shutdown

    def event(self, kind: EventKind) -> Event:
        """Return an event about the present or last incarnation."""
        return Event(kind, self.id, self.generation, self.restarts)

    # --- Actions of the supervisor ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the next incarnation, and wait until it is up, has failed, or the tree has to stop.

        An incarnation that is not up after `startup` seconds is abandoned.
        """
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
        if life.came_up:  # even if it has ended again
            shared.emit(self.event(EventKind.STARTED))
        elif life.phase is Phase.STARTING and not shared.stop_requested:
            self.abandon(WedgedError(f"not up after {spec.startup:g} s"))

    def stop(self, share: float = math.inf) -> None:
        """Stop the child; abandon it if it takes longer than its `shutdown`, or than `share` seconds. Blocks."""
        life, shared = self.incarnation, self._shared
        if life is None:
            return
        if not life.abandoned:
            now = shared.clock.monotonic()
            patience = min(self.spec.shutdown, share)
            life.request_stop(patience)
            # For half of the time the actor may handle the messages in its mailbox. Then it must end, and the rest of
            # the messages is left.
            if not shared.wait(lambda: life.over, lambda: now + patience / 2):
                life.hurry()
                if not shared.wait(lambda: life.over, lambda: now + patience):
                    self.abandon(WedgedError(f"not down after {patience:g} s"))
        self.conclude()

    def conclude(self) -> None:
        """Emit how the incarnation ended, and drop it. One that should be over and is not is abandoned first."""
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
        """Leave the incarnation's thread behind. From now on nothing that it does has an effect on the tree."""
        life, shared = self.incarnation, self._shared
        if life is None:
            return
        shared.directory.abandon(life)
        life.abandon()
        life.leave(error)
        shared.ghosts.add(life, error, shared.clock.monotonic())
        shared.emit(self.event(EventKind.ABANDONED)._replace(error=describe(error), trace=stack_of(life.thread)))

    def wait_until(self, due: float) -> None:
        """Plan a restart, not before `due`; messages to the child are kept until then."""
        self.due = due if self.due is None else max(self.due, due)
        self.finished = False
        self._shared.directory.expect(self.id)

    def retire(self) -> None:
        """Note that the child is down for good; messages to it are refused from now on."""
        self._shared.directory.retire(self.id)
        self.due = None
        self.finished = True
