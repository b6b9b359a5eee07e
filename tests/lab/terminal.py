"""A terminal window under a test: a pseudo-terminal with a size, a program in its foreground, keys, and what is shown.

    with Terminal([*NSSH, "devbox"], env) as window:
        window.expect(b"$ ")
        window.send(b"stty size\\r")
        window.expect(b"24 80")

Unlike a window that is closed with its program, this one stays until the end of the context: its modes can be read
after the program has ended, and compared with those before it started.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import pwd
import re
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEADLINE = 30.0
"""Seconds; what is not shown within them never will be."""

_WHERE = b"\x1b[6n"
_HERE = b"\x1b[1;1R"


class Terminal:
    """A program that leads a session on a terminal of its own, as a shell does in a new window.

    Attributes:
        pid: The program's.
        output: All that was shown so far.
        initial: The terminal's modes before the program started; see `attributes`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        rows: int = 24,
        columns: int = 80,
        directory: str | None = None,
        user: str | None = None,
        redirect: Mapping[int, int] | None = None,
    ) -> None:
        """Start it.

        Args:
            argv: The program, found on the PATH of `env`, and its arguments.
            env: Its whole environment.
            rows: Of the window.
            columns: Of the window.
            directory: The current directory.
            user: Run it as this account (by root only).
            redirect: File descriptors of its that are ours instead of the terminal: `{1: fd}` is `> file`.
        """
        self.output = b""
        self._passed = 0
        self._answered = 0
        self._status: int | None = None
        self._master, self._slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.resize(rows, columns)
        self.initial = self.attributes()
        account = pwd.getpwnam(user) if user else None
        if account is not None:
            os.fchown(self._slave, account.pw_uid, account.pw_gid)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
                for number in range(3):
                    os.dup2((redirect or {}).get(number, self._slave), number)
                if account is not None:
                    os.initgroups(account.pw_name, account.pw_gid)
                    os.setgid(account.pw_gid)
                    os.setuid(account.pw_uid)
                if directory is not None:
                    os.chdir(directory)
                os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606, an argv list, no shell
            finally:
                os._exit(127)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What is shown.

    def expect(self, wanted: bytes | re.Pattern[bytes], deadline: float = DEADLINE) -> re.Match[bytes]:
        """Wait until something is shown behind what was expected last; return the match.

        Raises:
            TimeoutError: It was not shown within `deadline` seconds.
            EOFError: The program has ended without showing it.
        """
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, bytes) else wanted
        found: list[re.Match[bytes]] = []

        def shown() -> bool:
            match = pattern.search(self.output, self._passed)
            if match:
                found.append(match)
            return match is not None

        self._wait(shown, f"{wanted!r} is shown", deadline, or_end=True)
        self._passed = found[0].end()
        return found[0]

    def rest(self) -> bytes:
        """Return what was shown behind what was expected last."""
        self._pump(0)
        return self.output[self._passed :]

    def wait_until(self, condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
        """Wait for a condition of any kind, while the terminal goes on showing.

        Raises:
            TimeoutError: It was still false after `deadline` seconds.
        """
        self._wait(condition, what, deadline, or_end=False)

    def insist(self, key: bytes, condition: Callable[[], object], what: str) -> None:
        """Press a key until a condition holds, as people do.

        A signal that comes between ssh's question and its read of the answer is lost (readpassphrase in 9.2).

        Raises:
            TimeoutError: It was still false after all that.
        """
        for _ in range(10):
            self.send(key)
            with contextlib.suppress(TimeoutError):
                self.wait_until(condition, what, 3.0)
                return
        raise TimeoutError(f"{what}: not for {key!r}; shown: {self.output[-2000:]!r}")

    @property
    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._reap()

    def _wait(self, condition: Callable[[], object], what: str, deadline: float, *, or_end: bool) -> None:
        end = time.monotonic() + deadline
        pause = 0.005
        while True:
            ended = self._reap()
            self._pump(0)
            if condition():
                return
            if ended and or_end:
                raise EOFError(f"ended with {self._status} before {what}: {self.output[-2000:]!r}")
            if time.monotonic() > end:
                raise TimeoutError(f"after {deadline:g} s still not: {what}; shown: {self.output[-2000:]!r}")
            self._pump(pause)
            pause = min(pause * 2, 0.1)

    def _pump(self, seconds: float) -> None:
        """Take what the program writes, and answer where its cursor is, as a terminal does."""
        if not select.select([self._master], [], [], seconds)[0]:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._master, 1 << 16):
                self.output += data
        while (asked := self.output.find(_WHERE, self._answered)) >= 0:
            self._answered = asked + len(_WHERE)
            self.send(_HERE)

    # What the user does.

    def send(self, keys: bytes) -> None:
        """Type."""
        while keys:
            try:
                keys = keys[os.write(self._master, keys) :]
            except BlockingIOError:
                select.select([], [self._master], [], DEADLINE)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the foreground gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the window under the running program: the session's leader gets SIGHUP."""
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    # The terminal itself.

    def attributes(self) -> list[Any]:
        """Return the terminal's modes (`termios.tcgetattr`)."""
        return termios.tcgetattr(self._slave)

    def set_attributes(self, attributes: list[Any]) -> None:
        """Set the terminal's modes, as `stty` does."""
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)

    @property
    def echo(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(self.attributes()[3] & termios.ECHO)

    @property
    def foreground(self) -> int:
        """The process group that the terminal's keys go to."""
        return os.tcgetpgrp(self._master)

    # The program.

    def signal(self, number: int) -> None:
        """Send the program, and nobody else, a signal."""
        os.kill(self.pid, number)

    def descendants(self) -> list[psutil.Process]:
        """Return the processes below the program."""
        return psutil.Process(self.pid).children(recursive=True)

    def child(self, name: str, deadline: float = DEADLINE) -> psutil.Process:
        """Wait for a child of the program by its process name, and return it."""
        found: list[psutil.Process] = []

        def there() -> list[psutil.Process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.extend(process for process in psutil.Process(self.pid).children() if process.name() == name)
            return found

        self.wait_until(there, f"there is a child {name}", deadline)
        return found[0]

    def wait(self, deadline: float = DEADLINE) -> int:
        """Wait for the program's end; return its exit status, negative for a signal's number.

        Raises:
            TimeoutError: It still ran after `deadline` seconds.
        """
        if self._master >= 0:
            self._wait(self._reap, "the program ends", deadline, or_end=False)
            self._pump(0)  # its last words
        else:
            end, pause = time.monotonic() + deadline, 0.005
            while not self._reap():
                if time.monotonic() > end:
                    raise TimeoutError(f"after {deadline:g} s the program still runs")
                time.sleep(pause)
                pause = min(pause * 2, 0.1)
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def _reap(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
        return self._status is not None

    def close(self) -> None:
        """End the program, if it still runs, with all that it has started on this terminal, and close the window."""
        if self._status is None:
            for process in self.descendants():
                with contextlib.suppress(psutil.Error):
                    if os.getsid(process.pid) == self.pid:
                        process.kill()
            os.kill(self.pid, signal.SIGKILL)
            self._status = os.waitpid(self.pid, 0)[1]
        if self._master >= 0:
            os.close(self._slave)
            os.close(self._master)
            self._master = -1
