"""The arithmetic of restarting: how often is too often, and how long to wait before the next attempt.

Nothing here knows about actors, threads or the time of day: every function is given the time and the randomness.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class RestartWindow:
    """Counts restarts in a sliding window: OTP's intensity and period.

    `intensity` restarts within `period` seconds are fine; one more is too many. A restart that happened exactly
    `period` seconds ago still counts, as in OTP.

    Raises:
        ValueError: If `intensity` is negative or `period` is not a positive number.
    """

    def __init__(self, intensity: int, period: float) -> None:
        if intensity < 0:
            raise ValueError(f"intensity must not be negative: {intensity}")
        if not (period > 0 and math.isfinite(period)):
            raise ValueError(f"period must be a positive number of seconds, not {period}")
        self.intensity = intensity
        self.period = period
        self._times: deque[float] = deque()

    def record(self, now: float) -> bool:
        """Count a restart at `now` (seconds); False if it is one too many."""
        self._times.append(now)
        return self.count(now) <= self.intensity

    def count(self, now: float) -> int:
        """The restarts of the last `period` seconds."""
        while self._times and self._times[0] < now - self.period:
            self._times.popleft()
        return len(self._times)


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a restart: exponential, with jitter, up to a maximum.

    Attributes:
        initial: Seconds before the first restart.
        factor: How much longer each further wait is.
        maximum: Seconds that no wait exceeds, jitter included.
        jitter: The fraction by which a wait may be shorter or longer, so that what failed together does not come
            back, and fail, together.
        quiet: Seconds that a child must have been up for its next failure to count as the first again.

    Raises:
        ValueError: If a value makes no sense.
    """

    initial: float = 0.1
    factor: float = 2.0
    maximum: float = 5.0
    jitter: float = 0.2
    quiet: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.maximum < math.inf:
            raise ValueError(f"backoff must have 0 <= initial <= maximum, not {self.initial} and {self.maximum}")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"the factor of a backoff must be 1 or more, not {self.factor}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"the jitter of a backoff is a fraction from 0 to 1, not {self.jitter}")
        if not 0 <= self.quiet < math.inf:
            raise ValueError(f"quiet must be a number of seconds, not {self.quiet}")

    def base(self, attempt: int) -> float:
        """Seconds before the `attempt`th restart in a row (from 1), without jitter."""
        try:
            return min(self.maximum, self.initial * self.factor ** (attempt - 1))
        except OverflowError:
            # Only floats that grew past 1e308 get here; an initial wait of 0 stays 0 however often it is multiplied.
            return self.maximum if self.initial else 0.0

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds before the `attempt`th restart in a row; `random` returns a number from 0 to 1."""
        spread = self.jitter * (2 * random() - 1)
        return min(self.maximum, self.base(attempt) * (1 + spread))

    def longest(self, attempts: int) -> float:
        """Seconds that the first `attempts` waits in a row take together at the most."""
        total = 0.0
        for attempt in range(1, attempts + 1):
            wait = self.delay(attempt, lambda: 1.0)
            if wait >= self.maximum or self.factor == 1:  # from here on every wait is the same
                return total + wait * (attempts - attempt + 1)
            total += wait
        return total


class Attempts:
    """Counts one child's failures in a row, and turns them into waits."""

    def __init__(self, backoff: Backoff, random: Callable[[], float]) -> None:
        self._backoff = backoff
        self._random = random
        self.failures = 0

    def next_delay(self, uptime: float) -> float:
        """Seconds to wait before the next start, after a life of `uptime` seconds (0 if it never came up)."""
        if uptime >= self._backoff.quiet:
            self.failures = 0
        self.failures += 1
        return self._backoff.delay(self.failures, self._random)


def check_reachable(window: RestartWindow, backoff: Backoff) -> None:
    """Refuse limits under which a child that fails at once, every time, would be restarted for ever.

    Raises:
        ValueError: If `intensity` waits in a row can take longer than `period`: old restarts would leave the window
            as fast as new ones enter it, and the tree would never escalate.
    """
    longest = backoff.longest(window.intensity)
    if longest > window.period:
        raise ValueError(
            f"{window.intensity} waits of this backoff take up to {longest:g} s, longer than the period of "
            f"{window.period:g} s: a child that always fails would never escalate; lower intensity or maximum"
        )
