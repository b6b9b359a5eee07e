"""Checks the sessions of this machine: whether they answer, who holds the lease, what dead sessions left behind."""

from __future__ import annotations

import fcntl
import os
import time
from glob import escape, glob
from typing import TYPE_CHECKING

from nssh.base import process
from nssh.doctor.report import failed, ok, warning
from nssh.meeting import liveness
from nssh.meeting.liveness import SessionState
from nssh.state import session_records
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.doctor.report import Result
    from nssh.doctor.step_runner import Examination
    from nssh.state.session_records import Record


def stale(_: Examination) -> Result:
    """Look for files of sessions that died. Reading the records removes them, so the names are listed before."""
    directory = os.path.join(files.state_dir(), "sessions")
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        names = []
    dead = sorted({name for name in names if _is_dead(name)})
    ignored = session_records.survey()[1]
    if ignored:
        one = ignored[0]
        path = os.path.join(directory, one.name)
        return warning(f"{path} is no record that can be used: {one.reason}", f"look at it, then remove {path}")
    if not dead:
        return ok("none are left of sessions that died")
    left = [name for name in dead if os.path.lexists(os.path.join(directory, name))]
    if left:
        return warning(
            f"{', '.join(left[:5])} of sessions that died can't be removed", f"remove them from {directory} yourself"
        )
    return warning(f"{', '.join(dead[:5])} of sessions that died: removed")


def _is_dead(name: str) -> bool:
    stem, dot, kind = name.partition(".")
    if not dot or kind not in {"json", "sock"} or not (stem.isascii() and stem.isdigit()):
        return False
    if kind == "sock":
        return not process.birth(int(stem))
    record = session_records.read(session_records.path_of(int(stem)))
    return (record is None and not process.birth(int(stem))) or (record is not None and not record.live)


def live(exam: Examination) -> Result:
    """Ask each live session of this target whether it answers, and check that one holds the topic's lease."""
    exam.sessions = [record for record in session_records.live() if record.key == exam.target.key]
    if not exam.sessions:
        return ok("none to this host at present")
    answers = liveness.probe_all(exam.sessions, exam.config)
    told = []
    worst: Result | None = None
    for record, answer in zip(exam.sessions, answers, strict=True):
        told.append(f"{record.pid} ({record.transport or 'connecting'}, {record.role or 'starting'}) {answer.text}")
        worst = worst or _trouble(exam, record, answer)
    text = "; ".join(told)
    if worst is not None:
        return worst._replace(text=f"{text}{'; ' if worst.text else ''}{worst.text}")
    # A session without a role is still starting.
    serials = sorted({record.serial for record in exam.sessions if record.serial and record.role})
    if all(map(_is_held, serials)):
        return ok(f"{text}; the topic's lease is held" if serials else text)
    return failed(
        f"{text}; nobody holds the topic's lease, so nobody acts", f"start another: nssh --replace {exam.words}"
    )


def _trouble(exam: Examination, record: Record, answer: liveness.Liveness) -> Result | None:
    again = f"nssh --replace {exam.words} ends it and starts another; nssh status --tail shows its events"
    match answer.state:
        case SessionState.WEDGED:
            return failed("", again)
        case SessionState.BUS_DOWN:
            return failed(record.problem, f"see the steps of the bus below; {again}")
        case _ if record.problem:
            return warning(record.problem)
    return None


def _is_held(serial: str) -> bool:
    """Whether a session holds a topic's lease. Looks three times: a change of holder takes up to a second."""
    for pause in (0.0, 0.5, 1.0):
        time.sleep(pause)
        if _lease(serial) is not False:
            return True
    return False


def _lease(serial: str) -> bool | None:
    """Whether a session holds a topic's lease at this moment; None if it is not known."""
    paths = glob(os.path.join(escape(files.state_dir()), "topics", f"*.{escape(serial)}.lease"))
    if len(paths) != 1:
        return None
    try:
        fd = os.open(paths[0], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The lock is shared and released at once. A session that wants the lease at this moment tries again.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(fd)
