"""Which process is which: a PID is only trusted together with its birth. Standard library until a record is written."""

from __future__ import annotations

import os
import signal
import sys


def birth(pid: int) -> str:
    """Return a word that no other process of this machine ever shares, or `` if there is no such process.

    On Linux the boot's id and the start time in ticks since boot (proc(5), field 22), which clock steps don't move;
    elsewhere the start time that psutil tells. A zombie counts as gone.
    """
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                boot = file.read().strip()[:8]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""  # what we may not read (proc mounted with hidepid=1) is another user's, and no nssh of ours
        return "" if fields[0] in {b"Z", b"X"} else f"{boot}/{fields[19].decode()}"
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""


def is_same(pid: int, born: str) -> bool:
    """Whether `pid` is still the process whose `birth` was `born`."""
    return bool(born) and pid > 0 and birth(pid) == born


def terminate(pid: int, born: str, number: int = signal.SIGTERM) -> bool:
    """Signal a process if it is still the one meant and not ourselves; return whether the signal was sent."""
    if pid == os.getpid() or not is_same(pid, born):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
