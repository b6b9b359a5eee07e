"""The lease of a topic: of the sessions that share it, only the holder acts. The kernel frees it at a death."""

from __future__ import annotations

import fcntl
import os


class Lease:
    """A file lock that this process holds or wants. For one thread at a time.

    It belongs to the process, not to an actor: it survives an actor's restart.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether this process holds the lease."""
        return self._fd >= 0

    def acquire(self) -> bool:
        """Try to get the lease without waiting; return whether this process holds it now.

        Raises:
            OSError: The lock file can't be created, or its file system has no locks.
        """
        if not self.held:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self.held

    def release(self) -> None:
        """Give the lease up, so that another session acts."""
        if self.held:
            os.close(self._fd)
            self._fd = -1

    def _lock(self, how: int) -> None:
        # Children don't inherit it (O_CLOEXEC): an xclip that outlives the session must not keep its lease.
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
            if self._keep(fd):
                fd = -1
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if fd >= 0:
                os.close(fd)

    def _keep(self, fd: int) -> bool:
        # If the file was removed or replaced meanwhile, another process may hold the lock on the new file.
        if not os.path.samestat(os.fstat(fd), os.stat(self._path, follow_symlinks=False)):
            return False
        self._fd = fd
        return True
