"""The end of a shared connection: its master goes, whether it listens or not, and its socket with it."""

from __future__ import annotations

import contextlib
import os
import signal
import stat

import psutil

from nssh.base import process
from nssh.base.errors import ConnectError
from nssh.ssh.mux import CHECK_SECONDS, Passenger


def end(path: str, *, only_here: bool = False) -> None:
    """End the master at a control socket of ours, and with it all that goes through it; remove a dead one's socket.

    A master that does not answer within `CHECK_SECONDS` is killed. It may be held, or wait in a read of the terminal
    for keys that are meant for the user's shell, and then not even ControlPersist ends it (OpenSSH 9.2, which does not
    expect another reader).

    Args:
        path: The socket; nothing happens if there is none, or if it is another user's.
        only_here: Let a master in another container be, which shares the directory but no process numbers.
    """
    if not _is_our_socket(path):
        return
    try:
        with Passenger(path, CHECK_SECONDS) as passenger:
            if only_here and passenger.check() not in {one.pid for one in _masters(path)}:
                return
            passenger.terminate()
    except ConnectError as error:
        gone = error.kind == "closed"
        if error.kind == "timeout":
            for one in _masters(path):
                gone |= process.terminate(one.pid, process.birth(one.pid), signal.SIGKILL)
        if gone:
            with contextlib.suppress(OSError):  # in a directory that can't be changed
                os.unlink(path)


def _masters(path: str) -> list[psutil.Process]:
    """Return the processes whose title says that they are the master at a socket, which ssh sees to."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.uids().effective == os.geteuid() and f": {path} [mux]" in " ".join(one.cmdline()):
                found.append(one)
    return found


def _is_our_socket(path: str) -> bool:
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(info.st_mode) and info.st_uid == os.geteuid()
