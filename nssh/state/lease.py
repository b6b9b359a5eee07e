"""The lease of a topic: among the sessions that share it, the holder acts. An OS lock, so the kernel frees it."""

from __future__ import annotations

import fcntl
import os


class Lease:
    """A lease that this process holds or wants; used by one thread at a time.

    It belongs to the process, not to an actor: an actor that is restarted finds it as it was.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._fd >= 0

    def acquire(self) -> bool:
        """Try to get it, without waiting; return whether it is held now.

        Raises:
            OSError: The lock file can't be made, or its file system knows no locks.
        """
        if not self.held:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self.held

    def release(self) -> None:
        """Let another session act."""
        if self.held:
            os.close(self._fd)
            self._fd = -1

    def _lock(self, how: int) -> None:
        # Not inherited by children: an xclip that lives on must not keep a dead session's lease.
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
        # A file that was removed meanwhile, as long unused, is nobody's lease: two could hold theirs.
        if not os.path.samestat(os.fstat(fd), os.stat(self._path, follow_symlinks=False)):
            return False
        self._fd = fd
        return True
