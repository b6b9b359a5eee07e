"""Runs the program that has the terminal (ssh or mosh-client): passes signals on, suspends with it, waits for its end.

Signal handlers only wake the launcher's loop, which then handles the signals in order. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from nssh.base import process, spawn, terminal
from nssh.base.errors import NsshError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

_T = TypeVar("_T")

# Signals that are passed on to the program, which decides what they mean.
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGWINCH", "SIGUSR1", "SIGUSR2")
# Signals that end nssh itself while no program is in the foreground.
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})


# Seconds. A stop that was shorter did not happen: nobody stops and continues a job so fast.
_INSTANT = 0.001


class InterruptedBySignal(KeyboardInterrupt):
    """A signal came that ends nssh, while no program was in the foreground to decide about it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Foreground:
    """Runs the foreground programs of a session, one after the other. For the launcher's only thread."""

    def __init__(self, on_other: Callable[[int, int], object], *, reads: bool) -> None:
        """Install the signal handlers.

        Args:
            on_other: Called with the PID and the wait status of every other child that has ended.
            reads: Whether the programs read standard input.
        """
        self.child = 0
        self._reads = reads
        self._socket = ""
        self._on_other = on_other
        self._ended: int | None = None
        self._signals: list[int] = []  # arrived and not handled yet
        self._wakeup, writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for name in (*_FORWARDED, "SIGCHLD"):
            signal.signal(getattr(signal, name), _wake)

    def start(self, argv: Sequence[str], environ: Mapping[str, str] | None = None, *, socket: str = "") -> None:
        """Start the next program on the terminal.

        Args:
            argv: The program and its arguments.
            environ: Its environment; the launcher's, if None.
            socket: The session's own control socket, if the program is an ssh that creates or uses it; otherwise empty.
                See `_suspend`.

        Raises:
            NsshError: The program is not there.
            OSError: The program can't be started.
        """
        try:
            self.adopt(spawn.start(argv, environ=environ), socket)
        except FileNotFoundError:
            raise NsshError(f"{argv[0]}: no such program") from None

    def adopt(self, pid: int, socket: str = "") -> None:
        """Make a running child the foreground program; `socket` as in `start`."""
        self.child, self._socket, self._ended = pid, socket, None

    def leave(self) -> None:
        """Forget the foreground program: it ends by itself, and its status is not needed."""
        self.child = 0

    def wait(self, timeout: Callable[[], float | None]) -> int:
        """Wait for the program's end, passing signals on to it; return its exit code.

        Args:
            timeout: Called in between. It does what is due, and returns the seconds until it must be called again, or
                None if nothing is planned.
        """
        while True:
            self.collect()
            if self._ended is not None:
                return self._ended
            self.wait_for((), timeout())

    def wait_for(self, fds: Sequence[int], timeout: float | None) -> Sequence[int]:
        """Wait until a file descriptor is readable or a signal comes; return the readable ones. Passes signals on.

        Args:
            fds: The file descriptors.
            timeout: Seconds at most; None for no limit.

        Raises:
            InterruptedBySignal: A signal came that ends nssh, and no program is in the foreground.
        """
        ready, _, _ = select.select([*fds, self._wakeup], [], [], 0 if self._signals else timeout)
        woken = self._wakeup in ready
        if woken:
            ready.remove(self._wakeup)
        if woken or self._signals:
            number = self._forward()
            self.collect()
            if number:
                raise InterruptedBySignal(number)
        return ready

    def ask(self, question: str, timeout: Callable[[], float | None]) -> str:
        """Ask the user a question, and return the line that is typed; `n` at the end of input.

        Args:
            question: The text of the question.
            timeout: As in `wait`.

        Raises:
            InterruptedBySignal: As in `wait_for`.
        """
        terminal.forget_keys()
        os.write(2, question.encode())
        line = b""
        try:
            while not self.wait_for([0], timeout()):
                pass
            line = os.read(0, 4096)
        finally:
            if not line:
                os.write(2, b"\n")
        return line.decode("utf-8", "replace") if line else "n"

    def interruptibly(self, work: Callable[[], _T]) -> _T:
        """Call a function that blocks, and return its result. A signal that ends nssh interrupts it.

        Raises:
            InterruptedBySignal: A signal came, and the function was left where it was.
        """
        for number in _ENDING:
            signal.signal(number, _raise)
        try:
            return work()
        finally:
            for number in _ENDING:
                signal.signal(number, _wake)
            self._forward()

    def _forward(self) -> int:
        """Pass signals on; return the last that ends nssh and had no program to be passed on to, or 0."""
        ending = 0
        self._take_signals()
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGCHLD:
                continue
            if self.child:
                os.kill(self.child, number)  # the PID is valid: if the child has just ended, it is not reaped yet
            elif number in _ENDING:
                ending = number
            elif number == signal.SIGTSTP:
                self._suspend()
        return ending

    def _take_signals(self) -> None:
        try:
            self._signals += os.read(self._wakeup, 4096)
        except BlockingIOError:
            return  # none arrived

    def collect(self) -> None:
        """Handle the changes of all children: stopped or ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                if pid == self.child:
                    self._suspend()
            elif pid == self.child:
                self.child = 0
                self._ended = spawn.exit_code(status)
            else:
                self._on_other(pid, status)

    def _suspend(self) -> None:
        """Suspend this process after the program was, so that the user's shell takes over; go on at `fg`.

        In a shared connection, the terminal is read by the master, a daemon that job control does not reach. Left
        running, it would read what is typed for the shell. So the session's own master is stopped meanwhile.
        """
        master = self._master()
        born = process.birth(master) if master else ""
        guard = _guard(master, born) if master else -1
        held = process.terminate(master, born, signal.SIGSTOP)
        modes = terminal.modes() if held else None
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _wake)
        if held:
            if self.come_to_foreground():
                # A single ssh restores the modes after a suspension; neither a master nor its client does.
                terminal.set_modes(modes)
                process.terminate(master, born, signal.SIGCONT)
            else:
                process.terminate(master, born, signal.SIGKILL)  # see `nssh.launch.master_guard`
        if guard >= 0:
            try:
                os.write(guard, b"\n")
            except BrokenPipeError:
                pass  # the guard has been killed
            os.close(guard)
        if self.child:
            os.kill(self.child, signal.SIGCONT)

    def come_to_foreground(self) -> bool:
        """Stop this process while it is in the background (`nssh host &`), until `fg`, as ssh stops when it reads.

        A shared connection's master is not stopped by the kernel: it would share the keys with the user's shell.

        Returns:
            False if a signal that ends nssh came first, while the terminal is the shell's.
        """
        while self._reads and not terminal.in_foreground():
            self._take_signals()
            if _ENDING.intersection(self._signals):
                return False  # `kill %1`
            started = time.monotonic()
            terminal.touch()
            if time.monotonic() - started < _INSTANT:
                break  # the kernel does not stop an orphaned process group, which nobody could continue
        return True

    def _master(self) -> int:
        """Return the PID of the session's own master; 0 if there is none, or not yet."""
        if not self._socket or not os.path.exists(self._socket):
            return 0
        from nssh.ssh import mux

        return mux.master_pid(self._socket) or 0


def _guard(master: int, born: str) -> int:
    """Start the guard, which kills a stopped master if this process dies; return a pipe to it, -1 if it can't start.

    A byte in the pipe ends the guard.
    """
    reader, writer = os.pipe()
    try:
        spawn.start(
            [sys.executable, "-P", "-m", "nssh.launch.master_guard", str(master), born], stdin=reader, session=True
        )
    except OSError:
        os.close(writer)
        return -1
    finally:
        os.close(reader)
    return writer


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python has already written to the wake-up file descriptor."""


def _raise(number: int, _frame: FrameType | None) -> None:
    raise InterruptedBySignal(number)
