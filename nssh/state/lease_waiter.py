"""Waits for a lease on a thread, in the bridge. Apart from `nssh.state.lease`, which is imported before ssh starts."""

from __future__ import annotations

import fcntl
import threading
import time
from typing import TYPE_CHECKING

from nssh.state.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds to pause after a wait that failed, before its caller is told and tries again.
_PAUSE = 1.0


class AwaitedLease(Lease):
    """A lease for which a thread of its own can wait."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._guard = threading.Lock()  # guards the two below, and whether the lease is held
        self._notice: Callable[[], object] | None = None
        self._waiter: threading.Thread | None = None

    def wait(self, notice: Callable[[], object]) -> None:
        """Start waiting for the lease, and return at once.

        A thread waits in the kernel, so the lease is acquired as soon as its holder releases it or dies.

        Args:
            notice: Called on that thread when the lease is held, and also if waiting failed. A second call of `wait`
                replaces the first one's `notice`.
        """
        with self._guard:
            self._notice = notice
            if self._waiter is not None:
                return
            self._waiter = threading.Thread(target=self._wait, name="lease", daemon=True)
        self._waiter.start()

    def release(self) -> None:
        """Give the lease up, so that another session acts, and stop waiting for it."""
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
