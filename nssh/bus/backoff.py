"""How long to wait before the bus is tried again; the arithmetic is the supervision library's."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from actors.supervision import Attempts, Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.base.errors import BusError

# Jitter goes both ways: the first wait is from 0.05 to 0.1 s, the longest from 20 to 30 s.
_FIRST: Final = 0.075
_LONGEST: Final = 30.0
_JITTER: Final = 1 / 3
# ntfy blocks an address after 30 wrong credentials, and forgets one a minute (docs/ntfy.md, "Errors"): so a longest
# wait of 90 to 120 s.
_REFUSED: Final = Backoff(initial=4.0, maximum=120.0, jitter=0.25)


def attempts(maximum: float = _LONGEST, random: Callable[[], float] = random.random) -> Attempts:
    """Return a counter of failures in a row, whose waits grow to `maximum` seconds; `random` is for the jitter."""
    return Attempts(Backoff(initial=min(_FIRST, maximum), maximum=maximum, jitter=_JITTER), random)


def delay(failed: Attempts, error: BusError) -> float:
    """Count a failure; return the seconds to wait now, at least what the server asked for."""
    # The jitter only shortens the backoff, never what was asked for.
    return max(error.retry_after or 0.0, failed.next_delay(backoff=_REFUSED if error.kind == "auth" else None))
