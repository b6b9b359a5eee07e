"""The state that a supervisor's thread shares with the threads of its children."""

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
    """Holds a tree's directory, timers, health watch and events, and lets the supervisor wait for changes.

    Args:
        ghosts: Counts the abandoned incarnations.
        clock: The tree's clock.
        on_event: Called with each event; see `Supervisor`.

    Attributes:
        changed: Guards what the supervisor waits for: the phases of all incarnations, and `stop_requested`.
        stop_requested, stop_by: Whether the tree is to stop, and the time by which all of it must have stopped.
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
        """Have the supervisor stop the tree, all of it within `timeout` seconds. Any thread; returns at once."""
        with self.changed:
            self.stop_requested = True
            if timeout is not None:
                self.stop_by = min(self.stop_by, self.clock.monotonic() + timeout)
            self.changed.notify_all()

    def wake(self) -> None:
        """Have the supervisor's thread look whether it has something to do. Any thread."""
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], until: Callable[[], float]) -> bool:
        """Wait until `condition()` is true; return False if the time `until()`, or `stop_by`, comes first.

        Both functions are called again at each change.
        """
        with self.changed:
            while not condition():
                remaining = min(until(), self.stop_by) - self.clock.monotonic()
                if remaining <= 0:
                    return False
                self.clock.wait(self.changed, remaining)
            return True

    def emit(self, event: Event) -> None:
        """Call `on_event`, unless this thread is in it already. Call it without holding a lock."""
        if self.on_event is None or getattr(self._emitting, "now", False):
            return
        self._emitting.now = True
        try:
            self.on_event(event)
        except Exception:
            logger.exception("on_event failed for %s of %s", event.kind, event.id)
        finally:
            self._emitting.now = False
