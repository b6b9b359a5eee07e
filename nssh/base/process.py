"""Identifies processes by PID and birth together, and signals them safely. psutil is imported on other systems only.

The kernel reuses a PID for another process, and processes that are started in the same clock tick have one birth. No
two processes have both in common: a PID is reused only after all others, which takes far longer than a tick.
"""

from __future__ import annotations

import os
import signal
import sys


def birth(pid: int) -> str:
    """Return when a process was started, as a word that never changes; empty if there is no such process.

    Only together with the PID does it name one process: others may have been started in the same moment.

    On Linux it is the boot's id and the start time in ticks since the boot (proc(5), field 22; a tick is 10 ms), which
    clock steps don't move; elsewhere the start time that psutil tells. A zombie counts as gone.
    """
    if sys.platform == "linux":
        fields = _stat(pid)
        if not fields or fields[0] in {b"Z", b"X"}:
            return ""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()[:8]
        return f"{boot}/{fields[19].decode()}"
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/<pid>/stat from the state on; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []  # with hidepid=1, the files of other users' processes can't be read; those are no nssh of this user


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (SIGSTOP, Ctrl-Z) or a debugger."""
    if sys.platform == "linux":
        fields = _stat(pid)
        return bool(fields) and fields[0] in {b"T", b"t"}
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def is_same(pid: int, born: str) -> bool:
    """Whether `pid` is still the process whose `birth` was `born`."""
    return bool(born) and pid > 0 and birth(pid) == born


class End:
    """Waits for the end of a process that is not our child."""

    # Seconds between two looks where the kernel can't tell.
    _INTERVAL = 0.9

    def __init__(self, pid: int, born: str) -> None:
        """Wait for the process `pid` whose `birth` was `born`."""
        import socket  # the launcher imports this module before ssh

        self._pid, self._born = pid, born
        self._closed, self._closer = socket.socketpair()

    def wait(self) -> bool:
        """Wait; return whether the process has ended, False after `close`. For one thread, once."""
        import select

        handle = -1
        if hasattr(os, "pidfd_open"):
            try:
                handle = os.pidfd_open(self._pid)
            except OSError:
                pass  # it has ended, or an old kernel or a sandbox: look from time to time
        try:
            while is_same(self._pid, self._born):
                watched = [self._closed.fileno(), *([handle] if handle >= 0 else [])]
                ready, _, _ = select.select(watched, [], [], None if handle >= 0 else self._INTERVAL)
                if self._closed.fileno() in ready:
                    return False
            return True
        finally:
            if handle >= 0:
                os.close(handle)
            self._closed.close()
            self._closer.close()

    def close(self) -> None:
        """End the wait. Any thread."""
        self._closer.close()


def terminate(pid: int, born: str, number: int = signal.SIGTERM) -> bool:
    """Send a signal to a process if its birth is `born` and it is not this process; return whether it was sent.

    Raises:
        PermissionError: It is not ours to signal.
    """
    if pid == os.getpid() or not is_same(pid, born):
        return False
    handle = -1
    if hasattr(os, "pidfd_open"):
        # The process that is checked below is the handle's, so the signal can't reach another one.
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # an old kernel or a sandbox: rely on the check alone
    try:
        if not is_same(pid, born):
            return False
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True
