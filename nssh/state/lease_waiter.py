"""A lease that is waited for, in the bridge; `nssh.state.lease` alone is on the way to ssh."""

from __future__ import annotations

import fcntl
import threading
import time
from typing import TYPE_CHECKING

from nssh.state.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds until a wait that failed is told: the next try to acquire says what is wrong, and is not made all the time.
_PAUSE = 1.0


class AwaitedLease(Lease):
    """A lease that a thread of this process may wait for, besides the one that uses it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._guard = threading.Lock()  # over what the two share: these, and whether the lease is held
        self._notice: Callable[[], object] | None = None
        self._waiter: threading.Thread | None = None

    def wait(self, notice: Callable[[], object]) -> None:
        """Get it as soon as nobody else holds it, and call `notice` then; returns at once.

        A thread waits in the kernel: that costs nothing, and it learns of a holder's death as it happens. It is the one
        that calls `notice`, also if waiting fails. Of two who wait, one after the other, the second is told.
        """
        with self._guard:
            self._notice = notice
            if self._waiter is not None:
                return
            self._waiter = threading.Thread(target=self._wait, name="lease", daemon=True)
        self._waiter.start()

    def release(self) -> None:
        """Let another session act, and wait for it no longer."""
        with self._guard:
            self._notice = None
            super().release()

    def _wait(self) -> None:
        try:
            while not self.held and self._notice is not None:
                self._lock(fcntl.LOCK_EX)
        except OSError:
            time.sleep(_PAUSE)
        with self._guard:
            notice, self._notice, self._waiter = self._notice, None, None
        if notice is not None:
            notice()

    def _keep(self, fd: int) -> bool:
        with self._guard:
            waited = threading.current_thread() is self._waiter
            return (self._notice is not None or not waited) and super()._keep(fd)
