"""The arithmetic of restarts: how many are too many, and how long to wait before the next one.

Supervisors use it, and everything else that is tried again. It knows no actors, threads or clocks: each function is
given the time and the random numbers. It imports only fast modules of the standard library, since a launcher needs it.
"""

from __future__ import annotations

import math
from collections import deque
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
        """Count a restart at `now` (seconds); return False if it is one too many."""
        self._times.append(now)
        return self.count(now) <= self.intensity

    def count(self, now: float) -> int:
        """Return the number of restarts in the last `period` seconds."""
        while self._times and self._times[0] < now - self.period:
            self._times.popleft()
        return len(self._times)


class Backoff:
    """The waits before restarts, or before other attempts: exponential, with jitter, limited.

    Not to be changed once it is made: children and `Attempts` may share one.

    Args:
        initial: Seconds of the first wait.
        factor: Each further wait is so many times as long.
        maximum: Seconds of the longest wait, jitter included.
        jitter: The fraction by which a wait may be shorter or longer, so that children that failed together do not
            restart, and fail again, together.
        quiet: Seconds of uptime after which the next failure counts as the first again.
        at_once: So many restarts in a row come without a wait, before the first wait.

    Raises:
        ValueError: If a value makes no sense.
    """

    def __init__(
        self,
        initial: float = 0.1,
        factor: float = 2.0,
        maximum: float = 5.0,
        jitter: float = 0.2,
        *,
        quiet: float = 30.0,
        at_once: int = 0,
    ) -> None:
        if not 0 <= initial <= maximum < math.inf:
            raise ValueError(f"backoff must have 0 <= initial <= maximum, not {initial} and {maximum}")
        if not 1 <= factor < math.inf:
            raise ValueError(f"the factor of a backoff must be 1 or more, not {factor}")
        if not 0 <= jitter <= 1:
            raise ValueError(f"the jitter of a backoff is a fraction from 0 to 1, not {jitter}")
        if not 0 <= quiet < math.inf:
            raise ValueError(f"quiet must be a number of seconds, not {quiet}")
        if at_once < 0:
            raise ValueError(f"at_once must not be negative: {at_once}")
        self.initial = initial
        self.factor = factor
        self.maximum = maximum
        self.jitter = jitter
        self.quiet = quiet
        self.at_once = at_once

    def __repr__(self) -> str:
        return f"Backoff({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def base(self, attempt: int) -> float:
        """Return the seconds before the `attempt`th restart in a row (from 1), without jitter."""
        if attempt <= self.at_once:
            return 0.0
        try:
            return min(self.maximum, self.initial * self.factor ** (attempt - self.at_once - 1))
        except OverflowError:
            # `factor ** attempt` was more than a float can hold. 0 times as much is still 0.
            return self.maximum if self.initial else 0.0

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Return the seconds before the `attempt`th restart in a row; `random` returns a number from 0 to 1."""
        spread = self.jitter * (2 * random() - 1)
        return min(self.maximum, self.base(attempt) * (1 + spread))

    def longest(self, attempts: int) -> float:
        """Return the most seconds that the first `attempts` waits in a row can take together."""
        total = 0.0
        for attempt in range(1, attempts + 1):
            wait = self.delay(attempt, lambda: 1.0)
            # All further waits are as long as this one.
            if wait >= self.maximum or (self.factor == 1 and attempt > self.at_once):
                return total + wait * (attempts - attempt + 1)
            total += wait
        return total


class Attempts:
    """Counts the failures in a row of one child, or of another repeated attempt, and tells the next wait.

    Args:
        backoff: The waits.
        random: Returns numbers from 0 to 1, for the jitter.
    """

    def __init__(self, backoff: Backoff, random: Callable[[], float]) -> None:
        self._backoff = backoff
        self._random = random
        self.failures = 0

    def next_delay(self, uptime: float = 0.0, backoff: Backoff | None = None) -> float:
        """Count a failure; return the seconds to wait before the next start.

        Args:
            uptime: Seconds that the child was up before it failed; 0 if it never came up.
            backoff: Used for this wait instead of the usual one, for a failure of another kind.
        """
        if uptime >= self._backoff.quiet:
            self.failures = 0
        self.failures += 1
        return (backoff or self._backoff).delay(self.failures, self._random)

    def reset(self) -> None:
        """Count the next failure as the first again."""
        self.failures = 0


def check_reachable(window: RestartWindow, backoff: Backoff) -> None:
    """Make sure that a child that always fails at once is given up some time.

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
