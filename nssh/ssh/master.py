"""End the ssh master at a control socket, also one that hangs, and remove the socket."""

from __future__ import annotations

import contextlib
import os
import signal
import stat

import psutil

from nssh.base import process
from nssh.base.errors import ConnectError
from nssh.remote import stop
from nssh.ssh.mux import CHECK_SECONDS, MuxClient


def end(path: str, *, only_here: bool = False) -> None:
    """End the master at a control socket of ours, and with it every session that it carries; remove a dead socket.

    A master that does not answer within `CHECK_SECONDS` is killed. It may be suspended, or blocked in a read of the
    terminal, where it takes keys meant for the user's shell; then not even ControlPersist ends it (OpenSSH 9.2).

    Args:
        path: The socket; nothing happens if there is none, or if it is another user's.
        only_here: Spare a master in another container, which shares the directory but has PIDs of its own.
    """
    if not _is_our_socket(path):
        return
    try:
        with MuxClient(path, CHECK_SECONDS) as client:
            if only_here and client.check() not in {one.pid for one in _masters(path)}:
                return
            client.terminate()
    except ConnectError as error:
        gone = error.kind == "closed"
        if error.kind == "timeout":
            for one in _masters(path):
                gone |= process.terminate(one.pid, process.birth(one.pid), signal.SIGKILL)
        if gone:
            with contextlib.suppress(OSError):  # the directory is read-only
                os.unlink(path)


def _masters(path: str) -> list[psutil.Process]:
    """Return the processes that are the master at a socket.

    ssh sets a title that says so when it detaches; until then the master is whoever listens at the socket. The kernel
    tells who began to, which stays its answer when that process has ended and its PID is another's: so the arguments
    must name the socket as well.
    """
    listener = stop.listener_pid(path)
    detached, attached = [], []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.uids().effective != os.geteuid():
                continue
            words = " ".join(one.cmdline())
            if f": {path} [mux]" in words:
                detached.append(one)
            elif one.pid == listener and path in words:
                attached.append(one)
    # A master that has detached was begun by the ssh on the terminal, which ends by itself, and restores the terminal.
    return detached or attached


def _is_our_socket(path: str) -> bool:
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(info.st_mode) and info.st_uid == os.geteuid()
