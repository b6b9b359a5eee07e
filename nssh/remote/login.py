"""How long ago the login began in which this process runs."""

from __future__ import annotations

import os
from time import clock_gettime


def age() -> float:
    """Return the seconds since this process's session was begun: by sshd for a login, by a terminal for a window.

    Infinite where the system does not tell: that is Linux's /proc, whose start times count from boot (proc(5)).
    """
    try:
        from time import CLOCK_BOOTTIME

        with open("/proc/%d/stat" % os.getsid(0), encoding="utf-8", errors="replace") as file:
            # The command's name may hold anything, also spaces and parentheses.
            began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, clock_gettime(CLOCK_BOOTTIME) - began)
    except (ImportError, OSError, ValueError, IndexError):
        return float("inf")
