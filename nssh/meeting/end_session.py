"""Ends other sessions of this machine: launcher, ssh or mosh-client, and bridge, each checked by its start time.

Runs in the launcher, before ssh, for `--replace`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

from nssh.base import process
from nssh.base.errors import NsshError
from nssh.ssh import control_path, master
from nssh.state import session_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.state.session_records import Record

PATIENCE = 1.0
"""Seconds from SIGTERM to SIGKILL, and from that to giving up."""

_PAUSE = 0.01


class SessionProcess(NamedTuple):
    """One process of a session."""

    pid: int
    birth: str


def end(found: Sequence[Record]) -> None:
    """End sessions together: SIGTERM, a second later SIGKILL for what is left. Then remove their records. Blocks.

    Raises:
        NsshError: A session is still there.
    """
    sessions = [(record, _processes(record)) for record in found]
    for record, members in sessions:
        if members and not record.foreign:
            # The session tells the user at its terminal why it ended.
            with contextlib.suppress(OSError):
                session_records.write(record._replace(replaced_by=os.getpid()))
        # Only the launcher is signalled: it ends its ssh or mosh, and lets its bridge deliver what has arrived.
        if members and process.terminate(*members[0]) and process.is_stopped(members[0].pid):
            process.terminate(*members[0], signal.SIGCONT)
    everyone = [member for _, members in sessions for member in members]
    if not _wait(lambda: not _left(everyone)):
        for member in _left(everyone):
            process.terminate(*member, signal.SIGKILL)
        _wait(lambda: not _left(everyone))
    for record, members in sessions:
        if _left(members):
            raise NsshError(
                f"the session of pid {record.pid} does not end, even by SIGKILL; leave it alone and use --new"
            )
        session_records.remove(record.pid)
        for path in control_path.candidates(record.pid):
            master.end(path)


def _processes(record: Record) -> list[SessionProcess]:
    """Return the processes of a session, the launcher first; none if the record's PID is not an nssh."""
    birth = record.birth or process.birth(record.pid)
    try:
        launcher = psutil.Process(record.pid)
        if not _is_nssh(launcher):
            return []
        children = [SessionProcess(child.pid, process.birth(child.pid)) for child in launcher.children()]
    except psutil.Error:
        return []
    # If another process has got the PID since, the children are not the session's either.
    if not process.is_same(record.pid, birth):
        return []
    return [SessionProcess(record.pid, birth), *(child for child in children if child.birth)]


def _is_nssh(process: psutil.Process) -> bool:
    """Whether a process is an nssh (or the Go program). No other process is signalled, whatever a record says."""
    words = [process.name(), *process.cmdline()]
    return any(os.path.basename(word).startswith("nssh") for word in words)


def _left(members: Sequence[SessionProcess]) -> list[SessionProcess]:
    return [member for member in members if process.is_same(*member)]


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True
