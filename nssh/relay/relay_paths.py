"""Name the relay's paths, and take the lock that makes it the only one of its user."""

from __future__ import annotations

import errno
import fcntl
import os
from time import monotonic, sleep

from nssh.wire.files import make_private_dir, state_dir


class RelayError(Exception):
    """The relay can't be started or reached; the text is one line for the user."""


class BusyError(RelayError):
    """Another process holds the lock."""


class RelayPaths:
    """The relay's paths.

    Args:
        state: nssh's state directory; empty for the user's own.
        socket: The unix socket; empty for `relay.sock` in the state directory.
    """

    __slots__ = ("directory", "lock", "log", "socket", "start_lock", "state")

    def __init__(self, state: str = "", socket: str = "") -> None:
        self.state = os.path.abspath(state) if state else state_dir()
        self.socket = os.path.abspath(socket) if socket else os.path.join(self.state, "relay.sock")
        self.directory = os.path.join(self.state, "relay")
        self.lock = os.path.join(self.directory, "lock")
        self.start_lock = os.path.join(self.directory, "start.lock")
        self.log = os.path.join(self.directory, "relay.log")

    def make(self) -> None:
        """Create the directories, 0700.

        Raises:
            RelayError: They can't be created, or belong to another user.
        """
        try:
            make_private_dir(self.state)
            make_private_dir(self.directory)
        except OSError as error:
            raise RelayError("cannot use %s: %s" % (error.filename or self.state, error.strerror)) from error


def take_lock(path: str, timeout: float) -> int:
    """Lock the file at `path`, and return its descriptor; the kernel releases the lock when the process ends.

    It waits for `timeout` seconds at most, by trying again after 5, 10, … 200 ms, because flock has no timeout.

    Raises:
        BusyError: Another process held the lock all the time.
        RelayError: The file can't be opened (a symlink, a full disk).
    """
    deadline = monotonic() + timeout
    pause = 0.005
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RelayError("cannot open %s: %s" % (path, error.strerror)) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}:
                raise RelayError("cannot lock %s: %s" % (path, error.strerror)) from error
            if monotonic() >= deadline:
                raise BusyError("another process holds %s" % path) from None
            sleep(pause)
            pause = min(2 * pause, 0.2)
            continue
        if is_same_file(fd, path):
            return fd
        os.close(fd)  # the file was removed meanwhile: lock the new one


def is_same_file(fd: int, path: str) -> bool:
    """Return whether `path` names the open file `fd`."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False
