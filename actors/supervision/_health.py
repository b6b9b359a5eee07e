"""Finds actors that are stuck, at no cost to those that are idle.

An idle actor is asleep before an empty mailbox, and a ping would only wake it up to tell us so. Instead an actor notes
what it is busy with and until when it may be; the supervisor looks when the first such time has passed, and no more
until somebody is busy again. A long queue, which a ping would wait behind, is no failure.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.supervision._incarnation import Incarnation

CONFIRM = 1.0
"""A second look follows after so many seconds, or a tenth of the limit if that is less.

A process that was stopped as a whole (SIGSTOP, a debugger, a machine that swaps) finds every deadline passed when it
goes on; this gives its actors the time to go on, too.
"""


class _Suspect(NamedTuple):
    task: tuple[Any, ...]  # the very same is one message, with one deadline
    confirm_at: float


class HealthWatch:
    """Remembers when to look next, and whom the last look made a suspect.

    Args:
        wake: Called, on an actor's thread, when the supervisor must look earlier than it was to: see `next_look`.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self.next_look = math.inf
        self._wake = wake
        self._lock = threading.Lock()  # guards changes of `next_look`
        self._suspects: dict[Incarnation, _Suspect] = {}

    def on_busy(self, deadline: float) -> None:
        """An actor has taken up something that may last until `deadline`. Runs on its thread, for every message."""
        if deadline < self.next_look:  # most find a look planned already, and take no lock
            with self._lock:
                self.next_look = min(self.next_look, deadline)
            self._wake()

    def look(self, running: Iterable[Incarnation], now: float) -> list[Incarnation]:
        """Those that are wedged; plans the next look."""
        # In this order, so that no deadline is missed: either we see the work that an actor has just written, or the
        # actor sees the infinity that we have just written, and plans a look itself.
        with self._lock:
            self.next_look = math.inf
        suspects: dict[Incarnation, _Suspect] = {}
        wedged = []
        looks: list[float] = []
        for incarnation in running:
            task = incarnation.task
            if task is None:
                continue
            since, deadline = task[:2]
            if now < deadline:
                looks.append(deadline)
                continue
            suspect = self._suspects.get(incarnation)
            if suspect is None or suspect.task is not task:
                suspect = _Suspect(task, now + min(CONFIRM, (deadline - since) / 10))
            if now < suspect.confirm_at:
                suspects[incarnation] = suspect
                looks.append(suspect.confirm_at)
            else:
                wedged.append(incarnation)
        self._suspects = suspects
        with self._lock:
            self.next_look = min([self.next_look, *looks])
        return wedged
