"""Ending a whole session of this machine: its launcher, its ssh or mosh-client, its bridge; each checked to be itself.

Before ssh, in the launcher, and only when there is a session to end.
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
from nssh.state import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.state.records import Record

PATIENCE = 1.0
"""Seconds from SIGTERM to SIGKILL, and from that to giving up."""

_PAUSE = 0.01


class Process(NamedTuple):
    """One process of a session."""

    pid: int
    birth: str


def end(found: Sequence[Record]) -> None:
    """End sessions, all at once: SIGTERM, and what is left after a second SIGKILL; their records are removed.

    Raises:
        NsshError: One is still there.
    """
    sessions = [(record, _processes(record)) for record in found]
    for record, members in sessions:
        if members and not record.foreign:
            # For its last words: whoever sits at that terminal should know why it ended.
            with contextlib.suppress(OSError):
                records.write(record._replace(replaced_by=os.getpid()))
        # The launcher alone: it ends its ssh or mosh, and its bridge delivers what has come.
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
        records.remove(record.pid)
        for path in control_path.candidates(record.pid):
            master.end(path)


def _processes(record: Record) -> list[Process]:
    """Return the processes of a session, its launcher first; none if that is no nssh."""
    birth = record.birth or process.birth(record.pid)
    try:
        launcher = psutil.Process(record.pid)
        if not _is_nssh(launcher):
            return []
        children = [Process(child.pid, process.birth(child.pid)) for child in launcher.children()]
    except psutil.Error:
        return []
    # Whoever got the PID in between, its children are not ours either.
    if not process.is_same(record.pid, birth):
        return []
    return [Process(record.pid, birth), *(child for child in children if child.birth)]


def _is_nssh(process: psutil.Process) -> bool:
    """Whether a process is an nssh, this one or the Go program: whatever a record says, nobody else is ended."""
    words = [process.name(), *process.cmdline()]
    return any(os.path.basename(word).startswith("nssh") for word in words)


def _left(members: Sequence[Process]) -> list[Process]:
    return [member for member in members if process.is_same(*member)]


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True
