"""What is done to one child: started, stopped, given up for lost, each within its deadline; and told, as events.

Nothing is decided here: who is started again, and when the tree gives up, is the supervisor's.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Any

from actors.supervision._directory import Directory
from actors.supervision._events import Event, EventKind
from actors.supervision._health import HealthWatch
from actors.supervision._incarnation import Context, Phase, WedgedError
from actors.supervision._timers import Timers
from actors.supervision.debug import describe, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.supervision._child import Child
    from actors.supervision._ghosts import Ghosts
    from actors.supervision._spec import ChildSpec
    from actors.supervision._timers import Clock

logger = logging.getLogger(__name__)


class Lifecycle:
    """Begins and ends lives, one at a time, for the supervisor's thread; that waits here, and only here.

    Args:
        specs: The children's, for their mailboxes.
        ghosts: Where those are counted that had to be given up.
        clock: Of the tree.
        on_event: Told what happens; see `Supervisor`.

    Attributes:
        changed: Guards what the supervisor waits for: the phases of all lives, and the requests below.
        stop_requested, stop_by: Whether the tree is to stop, and the time by which all of it must have.
    """

    def __init__(
        self, specs: Iterable[ChildSpec], ghosts: Ghosts, clock: Clock, on_event: Callable[[Event], object] | None
    ) -> None:
        self.changed = threading.Condition()
        self.stop_requested = False
        self.stop_by = math.inf
        self.ghosts = ghosts
        self.clock = clock
        self.timers = Timers(clock)
        self.health = HealthWatch(self._wake)
        self.directory = Directory(
            {spec.id: spec.mailbox for spec in specs},
            lambda child_id, what: self.emit(Event(EventKind.DROPPED, child_id, error=what)),
        )
        self._on_event = on_event
        self._emitting = threading.local()

    def request_stop(self, timeout: float | None) -> None:
        """Have the supervisor stop the tree, all of it within `timeout` seconds; any thread."""
        with self.changed:
            self.stop_requested = True
            if timeout is not None:
                self.stop_by = min(self.stop_by, self.clock.monotonic() + timeout)
            self.changed.notify_all()

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], until: Callable[[], float]) -> bool:
        """Wait for `condition`, until the time `until` or that of a shared deadline; both are asked at each change."""
        with self.changed:
            while not condition():
                remaining = min(until(), self.stop_by) - self.clock.monotonic()
                if remaining <= 0:
                    return False
                self.clock.wait(self.changed, remaining)
            return True

    def start(self, child: Child) -> None:
        """Start one child and wait until it is up, or has failed, or has to stop."""
        spec = child.spec
        incarnation = child.new_incarnation(self.changed, self.clock)
        self.directory.expect(spec.id)
        context = Context(spec.id, self.directory, self.timers, self.clock, incarnation)
        start: Any = spec.start
        incarnation.launch(lambda: start(context), self.health.on_busy)
        until = self.clock.monotonic() + spec.startup
        self.wait(lambda: incarnation.phase is not Phase.STARTING or self.stop_requested, lambda: until)
        if incarnation.came_up:  # also if it has ended by now
            self.emit(child.event(EventKind.STARTED))
        elif incarnation.phase is Phase.STARTING and not self.stop_requested:
            self.abandon(child, WedgedError(f"not up after {spec.startup:g} s"))

    def stop(self, child: Child, share: float = math.inf) -> None:
        """Stop one child within its deadline, and `share` seconds; abandon it if it does not."""
        incarnation = child.incarnation
        if incarnation is None:
            return
        if not incarnation.abandoned:
            now = self.clock.monotonic()
            patience = min(child.spec.shutdown, share)
            incarnation.request_stop()
            # First it may work off its mailbox. If that takes too long, what is left there is given up, not the actor.
            if not self.wait(lambda: incarnation.over, lambda: now + patience / 2):
                incarnation.hurry()
                if not self.wait(lambda: incarnation.over, lambda: now + patience):
                    self.abandon(child, WedgedError(f"not down after {patience:g} s"))
        self.bury(child)

    def bury(self, child: Child) -> None:
        """Tell how a life ended, and forget it; one that should be over by now, and is not, is abandoned."""
        incarnation = child.incarnation
        if incarnation is None:
            return
        if incarnation.phase is not Phase.ENDED and not incarnation.abandoned:
            lost = incarnation.lost
            error = WedgedError("its thread is gone" if lost else f"not down after {child.spec.shutdown:g} s")
            self.abandon(child, error)
        if incarnation.error is None:
            self.emit(child.event(EventKind.ENDED))
        else:
            event = child.event(EventKind.CRASHED)
            self.emit(event._replace(error=describe(incarnation.error), trace=incarnation.trace))
        child.forget(self.clock.monotonic())

    def abandon(self, child: Child, error: WedgedError) -> None:
        """Give a thread up for lost; nothing that it does counts from now on."""
        incarnation = child.incarnation
        if incarnation is None:
            return
        self.directory.abandon(incarnation)
        incarnation.leave(error)
        self.ghosts.add(incarnation, error, self.clock.monotonic())
        self.emit(child.event(EventKind.ABANDONED)._replace(error=describe(error), trace=stack_of(incarnation.thread)))

    def retire(self, child: Child) -> None:
        """It will not be started again; messages to it are refused from now on."""
        self.directory.retire(child.id)
        child.finish()

    def emit(self, event: Event) -> None:
        """Tell `on_event`; never while holding a lock."""
        if self._on_event is None or getattr(self._emitting, "now", False):
            return
        self._emitting.now = True
        try:
            self._on_event(event)
        except Exception:
            logger.exception("on_event failed for %s of %s", event.kind, event.id)
        finally:
            self._emitting.now = False
