"""Where the relay keeps its things, the lock that makes it the only one of its user, and its one error."""

from __future__ import annotations

import errno
import fcntl
import os
from time import monotonic, sleep

from nssh.wire.files import make_private_dir, state_dir


class RelayError(Exception):
    """The relay can't be started or reached; one line that says what, where, and what to do next."""


class BusyError(RelayError):
    """Another process holds the lock."""


class Places:
    """The relay's paths.

    Args:
        state: nssh's state directory; "" for the user's own.
        socket: The unix socket; "" for `relay.sock` in the state directory.
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
            RelayError: They can't be made or are not ours alone.
        """
        try:
            make_private_dir(self.state)
            make_private_dir(self.directory)
        except OSError as error:
            raise RelayError("cannot use %s: %s" % (error.filename or self.state, error.strerror)) from error


def take_lock(path: str, timeout: float) -> int:
    """Lock the file at `path`, and return its descriptor; the kernel gives the lock back when the process ends.

    Waits up to `timeout` seconds, asking again after 5, 10, … 200 ms: an flock has no deadline of its own.

    Raises:
        BusyError: Somebody else holds it all that time.
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
        os.close(fd)  # its directory was removed in between: lock the new one


def is_same_file(fd: int, path: str) -> bool:
    """Return whether `path` still names the open file `fd`."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False
