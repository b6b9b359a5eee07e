"""Finds actors that are stuck in a message, without waking idle ones.

A ping would wake up an idle actor, and would wait behind a long queue, which is no failure. Instead an actor notes
which message it handles and its deadline. The supervisor looks when the first deadline has passed; while all actors are
idle it does not look at all.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.supervision._incarnation import Incarnation

CONFIRM = 1.0
"""Seconds until a second look confirms that an actor is stuck, or a tenth of its limit if that is less.

After the whole process was stopped (SIGSTOP, a debugger, a machine that swaps), every deadline has passed when it goes
on. The second look gives the actors time to go on, too.
"""


class _Suspect(NamedTuple):
    task: tuple[Any, ...]  # compared by identity: the same tuple means the same message and deadline
    confirm_at: float


class HealthWatch:
    """Plans the next look at the actors, and remembers those that were late at the last one.

    Args:
        wake: Wakes the supervisor. Called on an actor's thread, when `next_look` has come forward.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self.next_look = math.inf
        self._wake = wake
        self._lock = threading.Lock()  # guards changes of `next_look`
        self._suspects: dict[Incarnation, _Suspect] = {}

    def on_busy(self, deadline: float) -> None:
        """Plan a look for an actor that may take until `deadline`. Runs on the actor's thread, for every message."""
        if deadline < self.next_look:  # mostly an earlier look is planned, and no lock is needed
            with self._lock:
                self.next_look = min(self.next_look, deadline)
            self._wake()

    def look(self, running: Iterable[Incarnation], now: float) -> list[Incarnation]:
        """Return the actors that are stuck, and plan the next look. Runs on the supervisor's thread."""
        # First set the infinity, then read the tasks, so that no deadline is missed. An actor writes its task first and
        # reads `next_look` then: so either this look sees the task, or the actor sees the infinity and plans a look.
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
