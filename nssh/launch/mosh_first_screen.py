"""Bringing mosh's first screen sooner. Standard library only, on the way to the prompt."""

from __future__ import annotations

import os
import signal
import time

# Seconds after its start. mosh-server knows no round trip before the client has sent something that it answers, and
# holds its first screen back for 250 ms, the interval it begins with. A window that is resized, be it to the size it
# has, is such a something: the prompt comes 200 ms sooner on a 40 ms link. Several, because mosh-client catches the
# signal only once it is set up, and ignores it before.
_MOMENTS = (0.03, 0.06, 0.12, 0.24)


class EarlyResizes:
    """SIGWINCHes for a mosh-client that has just started; used by the launcher's only thread."""

    def __init__(self) -> None:
        self._due: list[float] = []

    def plan(self) -> None:
        """Begin to count: mosh-client starts now."""
        now = time.monotonic()
        self._due = [now + moment for moment in _MOMENTS]

    def tick(self, pid: int) -> float | None:
        """Send what is due to our child `pid`, 0 if it has ended; return the seconds until the next, or None."""
        now = time.monotonic()
        due = [moment for moment in self._due if moment <= now]
        self._due = self._due[len(due) :] if pid else []
        if due and pid:
            os.kill(pid, signal.SIGWINCH)
        return self._due[0] - now if self._due else None
