"""How many URLs in a row may open by themselves: a hostile or a looping program would bury the user in tabs."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FLOOD = 20
"""URLs opened within `FLOOD_SECONDS`; what comes beyond is held."""
FLOOD_SECONDS = 10.0


class Flood:
    """Counts the URLs of the last seconds; on one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened: deque[float] = deque()

    def admits(self) -> bool:
        """Whether one more may open now; it is counted if so."""
        now = self._clock()
        while self._opened and now - self._opened[0] > FLOOD_SECONDS:
            self._opened.popleft()
        if len(self._opened) >= FLOOD:
            return False
        self._opened.append(now)
        return True
