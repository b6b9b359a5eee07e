"""Uses the terminal without prompt_toolkit: its abilities, plain lines, and the signals during a question."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from nssh.base.errors import Cancelled, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 0
SCREEN = 2

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
