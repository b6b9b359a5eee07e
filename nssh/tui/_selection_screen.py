"""Draws a selection on the alternate screen, with as many columns as there is room for; see `nssh.tui.select`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nssh.base import terminal
from nssh.base.errors import Cancelled
from nssh.base.printable import LONGEST, printable
from nssh.tui import _terminal
from nssh.tui._selection import OLD, Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.tui import Row
    from nssh.tui._dialog import Fragments

_HELP = "space: select, a: all, o: older than 24 h, d: detached, n: none, digits: a PID, Enter: go on, Esc: cancel"
_SHORT_HELP = "space a o d n 0-9 Enter Esc"
# Where there are only lines: words, with the key of the list that does the same, and words that select none.
_WORDS = {"all": "a", "a": "a", "old": "o", "older": "o", "o": "o", "detached": "d", "d": "d"}
_NONE = ("none", "n", "q", "quit", "c", "cancel")
_GAP = 2
# In front of the columns: `> [x] `.
_FRONT = 6


class _Column(NamedTuple):
    """A column of the table: its index in a row's cells, its head, and the least width at which it is useful."""

    place: int
    name: str
    least: int


_COLUMNS = (
    _Column(1, "PID", 10),
    _Column(2, "AGE", 8),
    _Column(0, "HOST", 8),
    _Column(3, "STATE", 8),
    _Column(6, "RUNS", 6),
    _Column(5, "IDLE", 8),
    _Column(4, "CLIENT", 8),
)


def _cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row, not made printable yet."""
    runs = f"spared: {row.spared}" if row.spared else row.runs
    return (row.host, str(row.pid), row.age, row.state, row.client, row.idle, runs)


class SelectionScreen(Selection):
    """A selection as a dialog."""

    def __init__(self, title: str, rows: Sequence[Row]) -> None:
        super().__init__(rows)
        from nssh.tui import _text

        self._text = _text
        self._title = _text.shown(title)
        self._cells = [tuple(_text.shown(cell) for cell in _cells(row)) for row in rows]
        self._natural = [max(_text.width(cells[place]) for cells in self._cells) for place in range(len(_COLUMNS))]
        self._first = 0

    def draw(self, rows: int, columns: int) -> list[Fragments]:
        """Return the lines of the screen. If rows are few, the list comes first, then status, title, head and help."""
        above: list[Fragments] = []
        below: list[Fragments] = []
        widths = self._widths(columns - _FRONT)
        if rows >= 2:
            below = [[("", self._text.cut(self._status(), columns))]]
        if rows >= 3:
            above = [[("class:title", self._text.cut(self._title, columns))]]
        if rows >= 6:
            names = {column.place: column.name for column in _COLUMNS}
            above.append([("", self._line(" " * _FRONT, names, widths, columns))])
        if rows >= 8:
            lines = self._text.wrap(_HELP, columns)
            if len(lines) > (1 if rows < 16 else 3):
                lines = [self._text.cut(_SHORT_HELP, columns)]
            below += [[("", line)] for line in lines]
        height = rows - len(above) - len(below)
        self._first = self.draw_from(self._first, height)
        shown = range(self._first, min(self._first + height, len(self.rows)))
        # Empty lines keep the status at the bottom below a short list.
        padding: list[Fragments] = [[("", "")] for _ in range(height - len(shown))]
        return [*above, *(self._row(number, widths, columns) for number in shown), *padding, *below]

    def _widths(self, room: int) -> dict[int, int]:
        """Return the widths of the columns that there is room for, by their index."""
        widths: dict[int, int] = {}
        for place, name, least in _COLUMNS:
            natural = max(self._natural[place], len(name))
            if all(cells[place] in {"", "-"} for cells in self._cells):
                continue
            if place == 0 and len({row.host for row in self.rows}) == 1:
                continue
            gap = _GAP if widths else 0
            if min(natural, least) + gap > room:
                # Stop here, even if a less important column would fit.
                break
            widths[place] = min(natural, least)
            room -= widths[place] + gap
        names = {column.place: column.name for column in _COLUMNS}
        while room:
            cut = [place for place in widths if widths[place] < max(self._natural[place], len(names[place]))][:room]
            for place in cut:
                widths[place] += 1
            room = room - len(cut) if cut else 0
        return dict(sorted(widths.items()))

    def _line(self, front: str, cells: dict[int, str], widths: dict[int, int], columns: int) -> str:
        texts = [self._text.pad(cells[place], width) for place, width in widths.items()]
        return self._text.cut((front + (" " * _GAP).join(texts)).rstrip(), columns)

    def _row(self, number: int, widths: dict[int, int], columns: int) -> Fragments:
        marked = number == self.at
        box = " - " if self.rows[number].spared else "[x]" if number in self.chosen else "[ ]"
        front = f"{'>' if marked else ' '} {box} "
        text = self._line(front, dict(enumerate(self._cells[number])), widths, columns)
        return [("class:marked" if marked else "", text)]

    def _status(self) -> str:
        """Return the status line. A message comes first, since the end may be cut off."""
        row = self.rows[self.at]
        words = [f"{self.at + 1}/{len(self.rows)}", f"{len(self.chosen)} selected of {len(self.rows)}"]
        if self.typed:
            words.insert(0, f"PID {self.typed}")
        elif self.message:
            words.insert(0, self._text.shown(self.message))
        elif row.spared:
            words.append(self._text.shown(f"spared: {row.spared}"))
        return ", ".join(words)


def select(title: str, rows: Sequence[Row]) -> list[int]:
    """Let the user select rows at a terminal, as `nssh.tui.select` describes."""
    if _terminal.is_dumb():
        return sorted(_select_by_lines(title, rows).chosen)
    from nssh.tui import _dialog

    view = SelectionScreen(title, rows)
    _dialog.show(view, full_screen=True)
    question = printable(title, LONGEST).rstrip(" :.?")
    _terminal.write(f"{question}: {len(view.chosen)} selected of {len(rows)}\n")
    return sorted(view.chosen)


def _select_by_lines(title: str, rows: Sequence[Row]) -> Selection:
    selection = Selection(rows)
    _terminal.write(f"{printable(title, LONGEST)}\n")
    for row in rows:
        _terminal.write(f"  {printable('  '.join(filter(None, _cells(row))), LONGEST)}\n")
    with _terminal.signals():
        terminal.forget_keys()
        while not selection.chosen:
            _terminal.write(f"PIDs, all, old (older than {OLD / 3600:g} h), detached; Enter or q for none: ")
            answer = _terminal.read_line().lower().replace(",", " ").split()
            if not answer or (len(answer) == 1 and answer[0] in _NONE):
                raise Cancelled
            problems = [_take(selection, word) for word in answer]
            for problem in filter(None, problems):
                _terminal.write(f"{printable(problem, LONGEST)}\n")
            if any(problems):
                selection.chosen.clear()  # a line with a mistake selects nothing
    return selection


def _take(selection: Selection, word: str) -> str:
    """Apply a word of an answer to a selection; return what is wrong with it, empty if nothing is."""
    if word in _WORDS:
        selection.press(_WORDS[word])
        return selection.message
    if word in _NONE:
        return f"{word} does not go with other words"
    if not (word.isascii() and word.isdecimal()):
        return f"{word} is no PID, and none of these words"
    if any(str(selection.rows[number].pid) == word for number in selection.chosen):
        return ""  # named twice
    selection.message = ""
    selection.toggle_pid(word)
    return selection.message
