"""How long to wait before trying again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.base.errors import BusError


class Backoff:
    """Delays between attempts: exponential with jitter, with a gentler scale where credentials are refused.

    ntfy blocks an address after 30 wrong credentials, refilled by one a minute (NTFY.md, section 1): hence two minutes.
    """

    def __init__(self, *, first: float = 0.1, cap: float = 30.0, rand: Callable[[], float] = random.random) -> None:
        self._first = first
        self._cap = cap
        self._rand = rand
        self._failures = 0

    def reset(self) -> None:
        """Begin anew."""
        self._failures = 0

    def delay(self, error: BusError | None) -> float:
        """Return the seconds to wait now, at least what the server asked for."""
        first, cap = (5.0, 120.0) if error is not None and error.kind == "auth" else (self._first, self._cap)
        scale = min(cap, first * 2.0 ** min(self._failures, 20))
        self._failures += 1
        asked = (error.retry_after or 0.0) if error is not None else 0.0
        # The jitter only shortens the backoff, never what was asked for.
        return max(asked, scale * (0.5 + self._rand() / 2))
