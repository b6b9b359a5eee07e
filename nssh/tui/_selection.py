"""Which rows of a list are selected, and what keys do to that. No terminal, no prompt_toolkit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.base.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.tui import Row

OLD = 24 * 3600.0
"""Seconds; what `o` selects is older."""

_DIGITS = "0123456789"
_LONGEST_PID = 10
_ENTER = ("c-m", "c-j")
_BACKSPACE = "c-h"


class Selection:
    """A list with a marked row, selected rows, and a PID that is being typed.

    Attributes:
        at: The marked row.
        chosen: The selected rows.
        typed: The digits of a PID so far.
        message: What the last key led to, where that is not obvious; otherwise ``.
        page: How many rows are shown at once.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        """Begin with nothing selected.

        Args:
            rows: At least one.
        """
        self.rows = rows
        self.at = 0
        self.chosen: set[int] = set()
        self.typed = ""
        self.message = ""
        self.page = 1
        # By names of prompt_toolkit's.
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
        letters = [key.upper() for key in self._actions if key.isalpha() and len(key) == 1]
        self.keys: Sequence[str] = (*self._actions, *letters, *_ENTER, _BACKSPACE, *_DIGITS)

    def press(self, key: str) -> bool:
        """Take a key; return whether the selection is made.

        Enter with nothing selected says so and goes on: nobody chooses by accident, and leaving is a key of its own.
        With a PID typed, Enter and space are about that PID.

        Raises:
            Cancelled: The key was `q`.
        """
        self.message = ""
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

    def draw_from(self, first: int, height: int) -> int:
        """Return the first row to show in so many lines, so that the marked one is among them.

        Args:
            first: That of the last time.
            height: At least one.
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
        """Take a PID so far, and mark its row, or the first one that it may become."""
        self.typed = typed[:_LONGEST_PID]
        pids = [str(row.pid) for row in self.rows]
        if self.typed in pids:
            self.at = pids.index(self.typed)
        elif self.typed:
            self.at = next((number for number, pid in enumerate(pids) if pid.startswith(self.typed)), self.at)

    def toggle_pid(self, typed: str) -> None:
        """Select the row of a PID, or no longer; `message` says why that can't be."""
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
