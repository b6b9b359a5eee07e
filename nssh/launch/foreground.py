"""The program that has the terminal (ssh, a login, mosh-client): its signals, its suspensions, its end.

Signal handlers only wake the launcher's loop, which then does everything in order. Standard library only.
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

# Sent on to the program, which decides what they mean.
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGWINCH", "SIGUSR1", "SIGUSR2")
# What ends nssh itself while it has no program in the foreground.
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})


# Seconds; whoever stops a job and continues it is slower.
_INSTANT = 0.001


class InterruptedBySignal(KeyboardInterrupt):
    """A signal that ends nssh, while it does something of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Foreground:
    """The foreground program of one session, one after the other; used by the launcher's only thread."""

    def __init__(self, on_other: Callable[[int, int], object], *, reads: bool) -> None:
        """Catch the signals.

        Args:
            on_other: Is told the PID and the wait status of every other child that has ended.
            reads: Whether the programs will read from standard input.
        """
        self.child = 0
        self._reads = reads
        self._socket = ""
        self._on_other = on_other
        self._ended: int | None = None
        self._signals: list[int] = []  # arrived, and not dealt with
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
            environ: Its environment; ours, if None.
            socket: The control socket of ours that an ssh offers or uses, see `_suspend`.

        Raises:
            NsshError: It is not there.
            OSError: It can't be started.
        """
        try:
            self.adopt(spawn.start(argv, environ=environ), socket)
        except FileNotFoundError:
            raise NsshError(f"{argv[0]}: no such program") from None

    def adopt(self, pid: int, socket: str = "") -> None:
        """Take a child of ours for the foreground program; `socket` as in `start`."""
        self.child, self._socket, self._ended = pid, socket, None

    def leave(self) -> None:
        """Let the program go: it ends by itself, and nobody waits for its status."""
        self.child = 0

    def wait(self, timeout: Callable[[], float | None]) -> int:
        """Wait for the program's end while signals are passed on to it; return its exit code.

        `timeout` does what is due, and returns the seconds until it wants to be called again (None: not before
        something happens).
        """
        while True:
            self.collect()
            if self._ended is not None:
                return self._ended
            self.wait_for((), timeout())

    def wait_for(self, fds: Sequence[int], timeout: float | None) -> Sequence[int]:
        """Wait for something to read or a signal, for at most `timeout` seconds; return what can be read.

        Signals are passed on.

        Raises:
            InterruptedBySignal: One came that ends us, and there is no program to decide about it.
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
        """Return a line that the user types; the end of input means no.

        Args:
            question: What is asked, in the user's terminal.
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
        """Do something of nssh's own in the foreground and return what it returns.

        Raises:
            InterruptedBySignal: A signal that ends nssh came meanwhile; the work was left where it was.
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
        """Pass signals on; return the last one that ends us and could not be passed on, or 0."""
        ending = 0
        self._take_signals()
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGCHLD:
                continue
            if self.child:
                os.kill(self.child, number)  # if it has just ended, nobody has collected it yet
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
        """Take the news of all children."""
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
        """The program was suspended: suspend ourselves, so that the user's shell takes over; go on when it lets us.

        What reads the terminal in a shared connection is its master, a daemon that no job control reaches: left running
        it would take the shell's input away and type it into the remote. So a master of ours is held meanwhile.
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
                # ssh itself would do this on its way back, but neither the master nor its client does.
                terminal.set_modes(modes)
                process.terminate(master, born, signal.SIGCONT)
            else:
                process.terminate(master, born, signal.SIGKILL)  # see `nssh.launch.master_guard`
        if guard >= 0:
            try:
                os.write(guard, b"\n")
            except BrokenPipeError:
                pass  # somebody has ended it
            os.close(guard)
        if self.child:
            os.kill(self.child, signal.SIGCONT)

    def come_to_foreground(self) -> bool:
        """Stop as ssh would if it were to read the terminal from the background (`nssh host &`), until there is `fg`.

        The master of a shared connection reads it unhindered: it would share the keys with the user's shell.

        Returns False if a signal that ends us came first, and the terminal is the shell's.
        """
        while self._reads and not terminal.in_foreground():
            self._take_signals()
            if _ENDING.intersection(self._signals):
                return False  # `kill %1`: that comes first
            started = time.monotonic()
            terminal.touch()
            if time.monotonic() - started < _INSTANT:
                break  # nobody is there who could continue us, so the kernel did not stop us (an orphaned group)
        return True

    def _master(self) -> int:
        """The PID of the connection's master, 0 if it is none of ours, or is not there yet."""
        if not self._socket or not os.path.exists(self._socket):
            return 0
        from nssh.ssh import mux

        return mux.master_pid(self._socket) or 0


def _guard(master: int, born: str) -> int:
    """Have a held master ended when we die; return a pipe to the guard, or -1 if there is none.

    A byte dismisses it, when we go on.
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
    """Do nothing: the wake-up file descriptor has already told the loop."""


def _raise(number: int, _frame: FrameType | None) -> None:
    raise InterruptedBySignal(number)
