"""The terminal of a question: what it can show, plain lines on it, and the signals while it asks. No prompt_toolkit."""

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


class Ended(BaseException):
    """A signal that ends programs came while the question was there."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def require() -> None:
    """Make sure that somebody can be asked.

    Raises:
        UsageError: Standard input or standard error is no terminal.
    """
    if not (os.isatty(KEYS) and os.isatty(SCREEN)):
        raise UsageError("there is no terminal to ask at (standard input and standard error must be one)")


def is_dumb() -> bool:
    """Whether the terminal can do nothing but print lines."""
    return os.environ.get("TERM", "").lower() in {"", "dumb", "unknown"}


def is_plain() -> bool:
    """Whether the user wants text without attributes (no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def encoding() -> str:
    """Return the character set of the terminal."""
    return getattr(sys.stderr, "encoding", None) or "utf-8"


def size() -> tuple[int, int]:
    """Return the rows and columns of the terminal; 24 and 80, if it does not know."""
    try:
        columns, rows = os.get_terminal_size(SCREEN)
    except OSError:
        columns = rows = 0
    return rows or 24, columns or 80


def write(text: str) -> None:
    """Write to the terminal; a terminal that is gone is no error.

    Not through `sys.stderr`: it would keep what it could not write, and turn that into an exit status at the very end.
    """
    data = text.encode(encoding(), "replace")
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(SCREEN, data) :]


def read_line() -> str:
    """Return a line from the terminal, without its end; what is typed behind it stays there.

    Raises:
        Cancelled: There is none.
    """
    data = b""
    while not data.endswith(b"\n"):
        try:
            part = os.read(KEYS, 1)
        except OSError:
            part = b""
        except Ended:
            write("\n")  # what comes next, a shell's prompt say, has a line of its own
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
    raise Ended(number)


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Let the signals that end us raise `Ended` instead; ignored ones stay so.

    Afterwards everything is as it was, including what asyncio and prompt_toolkit take for themselves. A signal that
    came is sent again then, to whoever is in charge of it; if that lets us live, the question is cancelled.

    Yields:
        The signals that came; for handlers of another kind, to be added to.

    Raises:
        Cancelled: A signal came, and did not end us.
    """
    previous = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGWINCH)}
    wakeup = signal.set_wakeup_fd(-1)
    came: list[int] = []
    try:
        for number in ENDING:
            if not ignored(number):
                signal.signal(number, _raise)
        yield came
    except Ended as end:
        came.append(end.number)
    except (Cancelled, EOFError, OSError):
        if not came:
            raise Cancelled from None
    finally:
        for number, before in previous.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        if wakeup >= 0:
            signal.raise_signal(signal.SIGCHLD)  # one that came meanwhile woke nobody
    if came:
        signal.raise_signal(came[0])
        raise Cancelled
