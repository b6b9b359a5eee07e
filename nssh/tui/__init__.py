"""Questions to the user at the terminal: one key, a selection of many, and the progress of several hosts.

This module is cheap; prompt_toolkit (a quarter of a second) is imported by the functions, once there is something to
be drawn. Keys come from standard input and everything is drawn on standard error, so standard output may go elsewhere;
both must be a terminal, and whoever asks has made sure of that. For the main thread only, which it blocks.

What holds for every question:

- The terminal's modes are what they were when it is over, however it ends. A signal that ends programs (SIGTERM,
  SIGHUP, SIGINT, SIGQUIT) first ends the question, and then has the effect that it would have had without one.
- Only what is typed once the question stands there is an answer: what was typed before is thrown away, as ssh does
  before it asks for a password. It was for the shell to come, and its first `r` must not end a session.
- Keys are taken from the terminal one by one, and none behind the deciding one: those stay with the terminal, for ssh.
  What is pasted is no answer, and neither are reports of the terminal.
- Ctrl-C, Ctrl-D, Esc and the end of the terminal cancel.
- There is no colour, only bold and reverse, and with NO_COLOR not even these. A terminal without cursor movements
  (TERM=dumb) is asked by lines.
- Text of others is made printable here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import Cancelled
from nssh.tui._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cancelled", "Option", "Progress", "Row", "choose", "select"]


class Option(NamedTuple):
    """One of the answers to a question."""

    key: str
    """The one character that chooses it, lower case."""
    label: str
    hint: str = ""
    """What will happen; left out where there is no room."""


class Row(NamedTuple):
    """A process that may be selected, in the words that are shown; any of them may come from a remote."""

    host: str
    pid: int
    age: str
    state: str
    client: str = ""
    """The address of its client; this and what follows may be `` or `-` where there is nothing to tell."""
    idle: str = ""
    runs: str = ""
    """What runs in it."""
    seconds: float = 0.0
    """Its age."""
    detached: bool = False
    spared: str = ""
    """Why it can't be selected, or ``."""


def choose(lines: Sequence[str], options: Sequence[Option], default: int = 0) -> str:
    """Ask a question that one key answers; return the key of the chosen option.

    The question disappears when it is answered, and leaves one line: its first one, with the answer.

    Args:
        lines: The question, and what must be known about it; indentation is kept.
        options: The answers.
        default: Which of them is marked at first: Enter chooses the marked one, arrows mark another.

    Raises:
        Cancelled: No answer was given.
        UsageError: There is no terminal to ask at.
    """
    from nssh.tui import _single_key, _terminal

    _terminal.require()
    return _single_key.choose(lines, options, default)


def select(title: str, rows: Sequence[Row]) -> list[int]:
    """Let the user select some of many processes; return the places of the selected ones, at least one, in order.

    It has a screen of its own while it lasts, and leaves one line: the title, with how many were selected. Keys:
    arrows, Page Up and Down, Home, End; space selects the marked row, or no longer; `a` all, `o` those older than 24 h,
    `d` the detached ones, each in addition to what is selected already; `n` none; digits a PID, which Enter or space
    then selects; Enter takes what is selected, and where that is nothing says so and goes on; Esc, `q`, Ctrl-C and
    Ctrl-D cancel. Without cursor movements the rows are printed, and a line of PIDs or words is read.

    Args:
        title: What the selected ones are for.
        rows: All of them, in the order in which they are shown; at least one.

    Raises:
        Cancelled: Nothing is to be done.
        UsageError: There is no terminal to ask at.
    """
    from nssh.tui import _selection_screen, _terminal

    _terminal.require()
    return _selection_screen.select(title, rows)
