"""End the relay of this host, and remove the files of the remote role from the state directory."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import struct
import time

_PATIENCE = 3.0

OURS = ("session", "log.jsonl", "log.jsonl.1", "relay.sock", "relay.lock", "relay")
"""The remote role's files in the state directory; the others (sessions, topics) belong to the laptop's role."""


def relay(state: str) -> bool:
    """End the relay that listens in the state directory; return whether there was one. Its spool stays.

    The kernel tells the PID of the socket's listener, so no other process with a reused PID can be hit. It waits 3 s at
    most; a relay that has not ended by then is left.
    """
    pid = listener_pid(os.path.join(state, "relay.sock"))
    if pid <= 1 or pid == os.getpid():
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        return False
    end = time.monotonic() + _PATIENCE
    pause = 0.005
    while listener_pid(os.path.join(state, "relay.sock")) == pid and time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * 2, 0.2)
    return True


def listener_pid(path: str) -> int:
    """Return the PID of the process of this user that listens on a unix socket; 0 if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
            if hasattr(socket, "SO_PEERCRED"):
                pid, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                return pid if uid == os.geteuid() else 0
            return int(struct.unpack("i", client.getsockopt(0, 2, 4))[0])  # macOS: SOL_LOCAL, LOCAL_PEERPID
        except OSError:
            return 0


def _remove_tree(path: str) -> None:
    """Remove a directory to which a relay that ends may still write."""
    end = time.monotonic() + _PATIENCE
    while os.path.isdir(path):
        try:
            shutil.rmtree(path)
        except OSError as error:  # noqa: PERF203 (a handful of them)
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or time.monotonic() > end:
                raise
            time.sleep(0.05)


def forget(state: str, keep: tuple[str, ...] = ()) -> bool:
    """Remove the remote role's files but those in `keep`, and the directory if it is empty then.

    Returns:
        Whether anything was removed.
    """
    changed = False
    if os.path.islink(state) or not os.path.isdir(state):
        return False
    for name in OURS:
        path = os.path.join(state, name)
        if name in keep:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            _remove_tree(path)
            changed = True
        elif os.path.lexists(path):
            os.unlink(path)
            changed = True
    try:
        os.rmdir(state)
    except OSError:
        return changed  # this host is used as a laptop, too: the directory holds sessions and topics
    return True
