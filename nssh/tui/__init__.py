"""Asks the user at the terminal: a question that a key or a word answers, or a selection; shows the progress of hosts.

Importing this module is cheap; the functions import prompt_toolkit (a quarter of a second) when they draw. Keys come
from standard input and everything is drawn on standard error, so standard output may be redirected. Functions block,
and are for the main thread only.

Every question:

- restores the terminal's modes, however it ends. SIGTERM, SIGHUP, SIGINT and SIGQUIT first end the question, and then
  have their usual effect;
- throws away what was typed before it was drawn, as ssh does before it asks for a password: that was meant for the
  shell, and must not decide anything;
- reads keys one by one, and leaves those behind the answer to ssh. Reports of the terminal are no answer, nor is pasted
  text but for a word;
- is cancelled by Ctrl-C, Ctrl-D, Esc and the end of the terminal;
- uses bold and reverse but no colour, and with NO_COLOR not even these. On a terminal without cursor movements
  (TERM=dumb) it reads lines;
- makes the text that it shows printable, since a remote may have sent it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import Cancelled
from nssh.tui._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cancelled", "Option", "Progress", "Row", "choose", "select", "skip_enters"]


class Option(NamedTuple):
    """A possible answer to a question."""

    key: str
    """The character that chooses it, lower case."""
    label: str
    hint: str = ""
    """What it does; left out if there is no room."""


class Row(NamedTuple):
    """A process in a selection, as it is shown. Any text may come from a remote."""

    host: str
    pid: int
    age: str
    state: str
    client: str = ""
    """The address of its client; like the next two, empty or `-` if it is not known."""
    idle: str = ""
    runs: str = ""
    """The name of the program that runs in it."""
    seconds: float = 0.0
    """Its age in seconds."""
    detached: bool = False
    spared: str = ""
    """Why it can't be selected; empty if it can."""


def choose(lines: Sequence[str], options: Sequence[Option], default: int = 0) -> str:
    """Ask a question that a key or a word answers; return the key of the chosen option.

    The words are the options' labels, and of a longer label its first word; `q`, `quit` and `cancel` cancel. Enter
    behind a word belongs to it. `nssh.tui._answer_words` tells what is a word, and what is typed for the session.

    Once it is answered, only the question's first line remains, with the answer.

    Args:
        lines: The question, and what the user must know; indentation is kept.
        options: The possible answers.
        default: The index of the option that is marked at first. Enter chooses the marked one, arrows mark another.

    Raises:
        Cancelled: The user cancelled.
        UsageError: Standard input or standard error is not a terminal.
    """
    from nssh.tui import _question, _terminal

    _terminal.require()
    return _question.choose(lines, options, default)


def select(title: str, rows: Sequence[Row]) -> list[int]:
    """Let the user select processes; return the indices of the selected rows, at least one, in ascending order.

    It uses the alternate screen, and leaves one line: the title, with the number of selected rows. Keys: arrows, Page
    Up and Down, Home and End move; space toggles the marked row; `a` selects all, `o` those older than 24 h, `d` the
    detached ones, in addition to those selected already; `n` selects none; digits are a PID, which Enter or space then
    toggles; Enter ends the selection, if it is not empty; Esc, `q`, Ctrl-C and Ctrl-D cancel. On a terminal without
    cursor movements, the rows are printed, and a line of PIDs or words is read.

    Args:
        title: What the selected processes are for.
        rows: The processes in the order in which they are shown, at least one.

    Raises:
        Cancelled: The user cancelled.
        UsageError: Standard input or standard error is not a terminal.
    """
    from nssh.tui import _selection_screen, _terminal

    _terminal.require()
    return _selection_screen.select(title, rows)


def skip_enters() -> None:
    """Read the Enters that were typed at once behind a line, so that they do not reach the session."""
    from nssh.tui import _unread_keys

    _unread_keys.skip_enters_of_line()
