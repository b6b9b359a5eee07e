"""Keeps which rows of a list are selected, and changes that by keys. No terminal, no prompt_toolkit."""

from __future__ import annotations

from string import ascii_letters
from typing import TYPE_CHECKING

from nssh.base.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.tui import Row

OLD = 24 * 3600.0
"""Seconds. `o` selects processes that are older."""

_LETTERS = frozenset(ascii_letters)
_DIGITS = "0123456789"
_LONGEST_PID = 10
_ENTER = ("c-m", "c-j")
_BACKSPACE = "c-h"


class Selection:
    """A list with a marked row, selected rows, and a PID that is being typed.

    Attributes:
        at: The index of the marked row.
        chosen: The indices of the selected rows.
        typed: The digits of a PID that were typed so far.
        message: Why the last key had no visible effect; empty if it had.
        page: How many rows are shown at once.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        """Start with nothing selected. There must be at least one row."""
        self.rows = rows
        self.at = 0
        self.chosen: set[int] = set()
        self.typed = ""
        self.message = ""
        self.page = 1
        # The names of the keys are prompt_toolkit's.
        self._actions: dict[str, Callable[[], object]] = {
            "up": lambda: self._move(-1),
            "down": lambda: self._move(1),
            "pageup": lambda: self._move(-self.page),
            "pagedown": lambda: self._move(self.page),
            "home": lambda: self._move(-len(self.rows)),
            "end": lambda: self._move(len(self.rows)),
            " ": lambda: self._toggle(self.at),
            "a": lambda: self._add(lambda _: True, "nothing can be selected"),
            "o": lambda: self._add(lambda row: row.seconds > OLD, "nothing is older than 24 h"),
            "d": lambda: self._add(lambda row: row.detached, "nothing is detached"),
            "n": self.chosen.clear,
            "q": self._cancel,
        }
        self._in_word = False
        self.keys: Sequence[str] = (*self._actions, *_LETTERS, *_ENTER, _BACKSPACE, *_DIGITS)

    wait = None

    def press(self, key: str, _data: bytes = b"") -> bool:
        """Handle a key; return whether the selection is finished.

        A letter that is no key shows that a word is being typed, whose first letter has done what it does (`old`). It
        and those behind it do nothing: the `a` in `detached` must not select all.

        Enter does not finish an empty selection: cancelling has a key of its own. While a PID is typed, Enter and space
        toggle that PID.

        Raises:
            Cancelled: The key was `q`.
        """
        self.message = ""
        self._in_word = key in _LETTERS and (self._in_word or key.lower() not in self._actions)
        if self._in_word:
            self.typed, self.message = "", "only the first letter of a word counts here"
            return False
        if key in _DIGITS:
            self._type(self.typed + key)
            return False
        if key == _BACKSPACE:
            self._type(self.typed[:-1])
            return False
        typed, self.typed = self.typed, ""
        if typed and key in (*_ENTER, " "):
            self.toggle_pid(typed)
            return False
        if key in _ENTER:
            self.message = "" if self.chosen else "nothing is selected"
            return bool(self.chosen)
        self._actions[key.lower()]()
        return False

    def pause(self) -> bool:
        """Do nothing: every key counts alone."""
        return False

    def finish(self, unfinished: bytes) -> None:
        """Do nothing: what is typed behind the last key was not read."""

    def draw_from(self, first: int, height: int) -> int:
        """Return the index of the first row to show, so that the marked row is visible.

        Args:
            first: The first row that was shown last time.
            height: How many rows can be shown, at least one.
        """
        self.page = height
        first = min(max(first, self.at - height + 1), self.at)
        return max(0, min(first, len(self.rows) - height))

    def _move(self, step: int) -> None:
        self.at = min(max(0, self.at + step), len(self.rows) - 1)

    def _add(self, wanted: Callable[[Row], bool], otherwise: str) -> None:
        found = {number for number, row in enumerate(self.rows) if not row.spared and wanted(row)}
        self.chosen |= found
        self.message = "" if found else otherwise

    def _toggle(self, number: int) -> None:
        row = self.rows[number]
        if row.spared:
            self.message = f"PID {row.pid} is spared: {row.spared}"
        else:
            self.chosen ^= {number}

    def _type(self, typed: str) -> None:
        """Keep the digits of a PID, and mark its row, or the first row whose PID begins with them."""
        self.typed = typed[:_LONGEST_PID]
        pids = [str(row.pid) for row in self.rows]
        if self.typed in pids:
            self.at = pids.index(self.typed)
        elif self.typed:
            self.at = next((number for number, pid in enumerate(pids) if pid.startswith(self.typed)), self.at)

    def toggle_pid(self, typed: str) -> None:
        """Toggle the row of a PID; if that is not possible, `message` says why."""
        found = [number for number, row in enumerate(self.rows) if str(row.pid) == typed]
        if not found:
            self.message = f"there is no PID {typed}"
            return
        self.at = found[0]
        if len(found) == 1:
            self._toggle(self.at)
        else:
            hosts = " and ".join(self.rows[number].host for number in found)
            self.message = f"PID {typed} is on {hosts}: mark one of them, and select it with space"

    def _cancel(self) -> None:
        raise Cancelled
