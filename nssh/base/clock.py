"""The machine's clock that never jumps."""

from __future__ import annotations

import time


def uptime() -> float:
    """Return the seconds of a clock that never jumps; while the machine sleeps it goes on, if the system has such.

    It is the same for all processes, until the machine starts anew.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
