"""Makes mosh show its first screen sooner, by early SIGWINCHes. Standard library only: on the way to the prompt."""

from __future__ import annotations

import os
import signal
import time

# Seconds after the start of mosh-client. Until mosh-server has measured a round trip, it sends a screen only every
# 250 ms. It measures one when the client sends something, such as a window size, even an unchanged one: the prompt then
# comes 200 ms sooner on a 40 ms link. There are several signals because mosh-client ignores them until it is set up.
_MOMENTS = (0.03, 0.06, 0.12, 0.24)


class EarlyResizes:
    """Sends SIGWINCHes to a mosh-client that has just started. For the launcher's only thread."""

    def __init__(self) -> None:
        self._due: list[float] = []

    def plan(self) -> None:
        """Plan the signals: mosh-client has just been started."""
        now = time.monotonic()
        self._due = [now + moment for moment in _MOMENTS]

    def tick(self, pid: int) -> float | None:
        """Signal mosh-client if that is due; return the seconds until the next signal. `pid` is 0 once it has ended."""
        now = time.monotonic()
        due = [moment for moment in self._due if moment <= now]
        self._due = self._due[len(due) :] if pid else []
        if due and pid:
            os.kill(pid, signal.SIGWINCH)
        return self._due[0] - now if self._due else None
