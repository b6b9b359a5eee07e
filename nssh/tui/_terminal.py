"""Uses the terminal without prompt_toolkit: its abilities, plain lines, and the signals during a question."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import sys
import termios
import tty
from typing import TYPE_CHECKING, NoReturn

from nssh.base import terminal
from nssh.base.errors import Cancelled, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 0
SCREEN = 2

_TIOCSTI = getattr(termios, "TIOCSTI", 0)  # OpenBSD has none
_QUEUE = 4096
"""The most bytes that a terminal keeps of what was typed and not read."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class EndedBySignal(BaseException):
    """A signal that ends programs came during a question."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def require() -> None:
    """Check that there is a terminal to ask at.

    Raises:
        UsageError: Standard input or standard error is not a terminal.
    """
    if not (os.isatty(KEYS) and os.isatty(SCREEN)):
        raise UsageError("there is no terminal to ask at (standard input and standard error must be one)")


def is_dumb() -> bool:
    """Whether the terminal can only print lines."""
    return os.environ.get("TERM", "").lower() in {"", "dumb", "unknown"}


def is_plain() -> bool:
    """Whether the user wants text without bold and reverse (no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def encoding() -> str:
    """Return the character set of the terminal."""
    return getattr(sys.stderr, "encoding", None) or "utf-8"


def size() -> tuple[int, int]:
    """Return the terminal's rows and columns; 24 and 80 if they are not known."""
    try:
        columns, rows = os.get_terminal_size(SCREEN)
    except OSError:
        columns = rows = 0
    return rows or 24, columns or 80


def write(text: str) -> None:
    """Write to the terminal; do nothing if it is gone.

    `sys.stderr` is not used: it would keep what it can't write, and Python would exit with an error status.
    """
    data = text.encode(encoding(), "replace")
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(SCREEN, data) :]


def read_line() -> str:
    """Read a line from the terminal, without reading ahead; return it without its end.

    Raises:
        Cancelled: The input has ended.
    """
    data = b""
    while not data.endswith(b"\n"):
        try:
            part = os.read(KEYS, 1)
        except OSError:
            part = b""
        except EndedBySignal:
            write("\n")  # so that a shell's prompt begins on a new line
            raise
        if not part:
            write("\n")
            raise Cancelled
        data += part
    return data.decode(encoding(), "replace").strip()


def takes_keys_back() -> bool:
    """Whether the system lets a program put keys back (TIOCSTI). Linux forbids it since 6.2 in many distributions."""
    try:
        fcntl.ioctl(KEYS, _TIOCSTI, 0)  # no address of a byte: refused either way, but for different reasons
    except OSError as error:
        return error.errno == errno.EFAULT
    return True


def give_back(keys: bytes) -> bool:
    """Put keys back, before those that nobody has read yet, for the next program; return whether that was possible.

    The terminal must be in a mode in which it neither shows nor interprets keys. If it is not possible, all keys that
    were typed so far are thrown away: the second half of a command would be another command.
    """
    try:
        while len(keys) < _QUEUE and select.select([KEYS], [], [], 0)[0] and (more := os.read(KEYS, _QUEUE)):
            keys += more
        for key in keys:
            fcntl.ioctl(KEYS, _TIOCSTI, bytes([key]))
    except OSError:
        terminal.forget_keys()
        return False
    return True


def skip_enters() -> bytes:
    """Read the Enters that were typed at once behind an answer; return the byte behind them, if it had to be read.

    The terminal must be in a mode in which each key can be read alone.
    """
    back = takes_keys_back()
    while select.select([KEYS], [], [], 0)[0]:
        # What can't be put back is better not read: an Enter in front of a command does no harm.
        if not back and _unread() != 1:
            break
        try:
            key = os.read(KEYS, 1)
        except OSError:
            break
        if key not in {b"\r", b"\n"}:
            return key
    return b""


def _unread() -> int:
    """Return how many bytes were typed and not read yet."""
    try:
        return int.from_bytes(fcntl.ioctl(KEYS, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


@contextlib.contextmanager
def raw_keys() -> Iterator[None]:
    """Have the terminal give each key as it is typed, without showing it."""
    modes = termios.tcgetattr(KEYS)
    try:
        tty.setraw(KEYS, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(KEYS, termios.TCSANOW, modes)


def ignored(number: int) -> bool:
    """Whether a signal is ignored (`nohup`)."""
    return signal.getsignal(number) is signal.SIG_IGN


def _raise(number: int, _frame: object) -> NoReturn:
    raise EndedBySignal(number)


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Raise `EndedBySignal` at a signal that would end this process, unless it is ignored.

    At the end, all handlers are restored, also those that asyncio and prompt_toolkit replaced. A signal that came is
    then raised again, for the handler that was there before. If that does not end the process, the question is
    cancelled.

    Yields:
        The signals that came. Other handlers may append to it.

    Raises:
        Cancelled: A signal came and did not end the process, or the terminal is gone.
    """
    previous = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGWINCH)}
    wakeup = signal.set_wakeup_fd(-1)
    came: list[int] = []
    try:
        for number in ENDING:
            if not ignored(number):
                signal.signal(number, _raise)
        yield came
    except EndedBySignal as end:
        came.append(end.number)
    except (Cancelled, EOFError, OSError):
        if not came:
            raise Cancelled from None
    finally:
        for number, before in previous.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        if wakeup >= 0:
            signal.raise_signal(signal.SIGCHLD)  # a SIGCHLD that came during the question did not reach the launcher
    if came:
        signal.raise_signal(came[0])
        raise Cancelled
