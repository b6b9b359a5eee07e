"""One incarnation of a child process: start it, watch it, end it.

Standard library only, and no thread; only `stop` and `write` block. The owner calls `step` when `due`, and when one of
`descriptors` is readable. Signals reach no other process: they go to a pidfd, or to a PID whose process has not been
collected, and the kernel gives no PID away before that.
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from actors.supervision._heartbeat import DESCRIPTOR, Pulse
from actors.supervision._process_plan import Act, Phase, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.supervision._spec import ChildSpec

_POLL_INTERVAL = 0.25
"""Seconds between two looks on systems without pidfds, where no descriptor tells of a process's end."""

# Signals that this process may ignore or handle: a program that it starts gets their default actions.
_DEFAULTS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGXFSZ", "SIGTSTP", "SIGCONT", "SIGWINCH",
                 "SIGCHLD", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)  # fmt: skip


class ProcessError(Exception):
    """A process could not be started, failed, or was killed."""


class Program(NamedTuple):
    """What to run: the `start` of a child specification whose child is a process.

    The program's descriptors 0 to 2 are the null device, unless given here; it also inherits inheritable descriptors.
    """

    argv: Sequence[str]
    """The program, found on the PATH, and its arguments."""
    environ: Mapping[str, str] | None = None
    """Its environment; None: that of this process at the time of the start."""
    input: bool = False
    """Whether its stdin is a pipe from this process: see `Process.write`. Closing it asks the program to end."""
    output: bool = False
    """Whether its stdout is a pipe to this process: see `Process.output`."""
    errors: str = ""
    """Path of a file (0600) that its stderr is appended to; empty for none. If it can't be opened, stderr is lost."""
    session: bool = False
    """Whether it leads a session of its own, so that keys such as Ctrl-C on the terminal do not reach it."""
    group: bool = False
    """Whether SIGKILL goes to its whole process group; only with `session`."""


class Ended(NamedTuple):
    """How a process ended."""

    error: str
    """Why, in one line; empty if it ended well: with status 0, or on request."""
    status: int | None
    """Its exit status, or the negative number of the signal that ended it; None if it is unknown."""
    overdue: bool = False
    """Whether it was killed because one of its deadlines had passed."""


class Process:
    """One incarnation of a process. For one thread.

    Attributes:
        pid: Its PID; 0 before it is started and after it has been collected.
        output: A descriptor to read its stdout from, or -1. When the process has ended, the reader closes it.
    """

    def __init__(self, spec: ChildSpec, part: float = 1.0) -> None:
        """Prepare a process; `start` starts it.

        Args:
            spec: The child's specification, with a `Program` as its `start`.
            part: The fraction of `startup` and `shutdown` that the process gets; the owner needs the rest.

        Raises:
            TypeError: The specification's `start` is no `Program`.
        """
        if not isinstance(spec.start, Program):
            raise TypeError(f"{spec.id}: a process is started by a Program")
        self._spec = spec
        self._program = spec.start
        self._part = part
        self._plan = self._new_plan(0.0)
        self._asked = False
        self._input = -1
        self._handle = -1
        self._pulse: Pulse | None = None
        self.pid = 0
        self.output = -1

    def start(self, now: float) -> None:
        """Start the process at the time `now`, seconds of a clock that never jumps.

        Raises:
            OSError: It can't be started.
        """
        spec, program = self._spec, self._program
        theirs: list[int] = []  # closed here once the process has them
        try:
            null = os.open(os.devnull, os.O_RDWR)
            theirs.append(null)
            files = [null, null, null]
            if program.input:
                files[0], self._input = os.pipe()
                theirs.append(files[0])
            if program.output:
                self.output, files[1] = os.pipe()
                theirs.append(files[1])
            if program.errors and (errors := _open_errors(program.errors)) >= 0:
                files[2] = errors
                theirs.append(errors)
            environ = dict(os.environ if program.environ is None else program.environ)
            if spec.health is not None:
                self._pulse = Pulse()
                files += [null] * (DESCRIPTOR - len(files)) + [self._pulse.writer]
                theirs.append(self._pulse.writer)
                environ |= self._pulse.variable
            self.pid = os.posix_spawnp(
                program.argv[0],
                list(program.argv),
                environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(files)],
                setsigdef=_DEFAULTS,
                setsid=program.session,
            )
        except BaseException:
            self._release()
            if self.output >= 0:
                os.close(self.output)
                self.output = -1
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._handle = _open_handle(self.pid)
        self._plan = self._new_plan(now)

    def _new_plan(self, now: float) -> Plan:
        spec, part = self._spec, self._part
        return Plan(now, startup=spec.startup * part, shutdown=spec.shutdown * part, health=spec.health)

    @property
    def is_up(self) -> bool:
        """Whether it runs, and has written its first heartbeat if it writes any."""
        return self.pid != 0 and self._plan.phase is not Phase.STARTING

    @property
    def due(self) -> float:
        """The time to call `step` at the latest; infinite if nothing is planned."""
        return self._plan.due

    @property
    def must_be_polled(self) -> bool:
        """Whether no descriptor tells of its end, so that `step` must be called again and again."""
        return self._handle < 0

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that become readable when `step` has something to do."""
        found = [] if self._handle < 0 else [self._handle]
        if self._pulse is not None and self._plan.phase is Phase.STARTING:
            found.append(self._pulse.fd)  # later beats need not wake the owner
        return found

    def timeout(self, now: float) -> float | None:
        """Return the seconds to wait for `descriptors` before calling `step`; None: no limit."""
        wait = max(0.0, self.due - now)
        if self.must_be_polled:
            wait = min(wait, _POLL_INTERVAL)
        return None if wait == math.inf else wait

    def step(self, now: float) -> Ended | None:
        """Do what is due. Return how the process ended, once, if it has."""
        if not self.pid:
            return None
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return self._end(None)
        if pid:
            return self.ended(status)
        self.tend(now)
        return None

    def tend(self, now: float) -> None:
        """Do what is due to a running process. For owners that collect all their children themselves."""
        if self.pid:
            self._do(self._plan.look(now, heard=self._pulse is not None and self._pulse.heard()))

    def ended(self, wait_status: int) -> Ended:
        """Take the wait status of the ended process, from an owner that collects all its children itself."""
        return self._end(os.waitstatus_to_exitcode(wait_status))

    def request_stop(self, now: float, patience: float = math.inf) -> None:
        """Ask it to end within `patience` seconds, or within its `shutdown` if that is less."""
        self._asked = True
        self._plan.request_stop(now, patience)
        self.tend(now)

    def stop(self) -> Ended | None:
        """Ask it to end, and wait until it has. Return how it ended; None if there is no process. Blocks."""
        self.request_stop(time.monotonic())
        while self.pid:
            if (ended := self.step(time.monotonic())) is not None:
                return ended
            select.select(self.descriptors, [], [], self.timeout(time.monotonic()))
        return None

    def kill(self) -> None:
        """Send it SIGKILL."""
        self._asked = True
        if self.pid:
            self._signal(signal.SIGKILL)

    def write(self, data: bytes) -> None:
        """Write to its stdin; blocks while the pipe is full. Nothing is raised if the process has closed its stdin."""
        while data and self._input >= 0:
            try:
                data = data[os.write(self._input, data) :]
            except BrokenPipeError:
                return

    def _do(self, act: Act | None) -> None:
        if act is Act.ASK and self._input >= 0:
            os.close(self._input)
            self._input = -1
        elif act is Act.KILL:
            self._signal(signal.SIGKILL)
        elif act is not None:
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the process by its pidfd, or by its PID, which stays its own until it is collected."""
        try:
            if number == signal.SIGKILL and self._program.session and self._program.group:
                os.killpg(self.pid, number)  # a group's number is not given away while it has members
            elif self._handle >= 0:
                signal.pidfd_send_signal(self._handle, number)
            elif os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                os.kill(self.pid, number)
        except (ProcessLookupError, ChildProcessError):
            return  # it has ended, which `step` reports

    def _end(self, status: int | None) -> Ended:
        error = self._plan.overdue
        if not error and not self._asked:
            error = _describe(status)
        self.pid = 0
        self._release()
        return Ended(error, status, overdue=bool(self._plan.overdue))

    def _release(self) -> None:
        for fd in (self._input, self._handle):
            if fd >= 0:
                os.close(fd)
        self._input = self._handle = -1
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None


def _open_errors(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError:
        return -1


def _open_handle(pid: int) -> int:
    """Return a pidfd, -1 where there are none: another system than Linux, an old kernel, a sandbox."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _describe(status: int | None) -> str:
    if status is None:
        return "its end was somebody else's to see"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}" if status else ""
