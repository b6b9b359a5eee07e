"""Find out how long ago this process's login began."""

from __future__ import annotations

import os
from time import clock_gettime


def age() -> float:
    """Return the seconds since this process's session began, which is a login by ssh or a window of a terminal.

    The start time comes from Linux's /proc (proc(5)); elsewhere the result is infinite.
    """
    try:
        from time import CLOCK_BOOTTIME

        with open("/proc/%d/stat" % os.getsid(0), encoding="utf-8", errors="replace") as file:
            # The program's name in this line may hold spaces and parentheses.
            began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, clock_gettime(CLOCK_BOOTTIME) - began)
    except (ImportError, OSError, ValueError, IndexError):
        return float("inf")
