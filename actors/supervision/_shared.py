"""What the thread of a supervisor and those of its children share."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING

from actors.supervision._directory import Directory
from actors.supervision._events import Event, EventKind
from actors.supervision._health import HealthWatch
from actors.supervision._timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._ghosts import Ghosts
    from actors.supervision._timers import Clock

logger = logging.getLogger(__name__)


class Shared:
    """Where what happens in a tree is reported, and waited for.

    Args:
        ghosts: Where those are counted that had to be given up.
        clock: Of the tree.
        on_event: Told what happens; see `Supervisor`.

    Attributes:
        changed: Guards what the supervisor waits for: the phases of all lives, and the requests below.
        stop_requested, stop_by: Whether the tree is to stop, and the time by which all of it must have.
    """

    def __init__(self, ghosts: Ghosts, clock: Clock, on_event: Callable[[Event], object] | None) -> None:
        self.changed = threading.Condition()
        self.stop_requested = False
        self.stop_by = math.inf
        self.ghosts = ghosts
        self.clock = clock
        self.on_event = on_event
        self.timers = Timers(clock)
        self.health = HealthWatch(self.wake)
        self.directory = Directory(
            lambda child_id, what: self.emit(Event(EventKind.DROPPED, child_id, error=what)),
        )
        self._emitting = threading.local()

    def request_stop(self, timeout: float | None) -> None:
        """Have the supervisor stop the tree, all of it within `timeout` seconds; any thread."""
        with self.changed:
            self.stop_requested = True
            if timeout is not None:
                self.stop_by = min(self.stop_by, self.clock.monotonic() + timeout)
            self.changed.notify_all()

    def wake(self) -> None:
        """Have the supervisor look whether there is something to do; any thread."""
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

    def emit(self, event: Event) -> None:
        """Tell `on_event`; never while holding a lock."""
        if self.on_event is None or getattr(self._emitting, "now", False):
            return
        self._emitting.now = True
        try:
            self.on_event(event)
        except Exception:
            logger.exception("on_event failed for %s of %s", event.kind, event.id)
        finally:
            self._emitting.now = False
