"""Asks a question that one key answers; see `nssh.tui.choose`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.base import terminal
from nssh.base.printable import LONGEST, printable
from nssh.tui import _terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.tui import Option
    from nssh.tui._dialog import Fragments

_STEPS = {"up": -1, "left": -1, "s-tab": -1, "down": 1, "right": 1, "c-i": 1}
_ENTER = ("c-m", "c-j")


class Choice:
    """The state of a question: its options, and which of them is marked."""

    def __init__(self, lines: Sequence[str], options: Sequence[Option], default: int) -> None:
        self.marked = default
        self.options = options
        self._lines = lines
        letters = [option.key for option in options]
        self.keys: Sequence[str] = (*_STEPS, *_ENTER, *letters, *(letter.upper() for letter in letters))

    def press(self, key: str) -> bool:
        """Handle a key; return whether the question is answered, with the marked option."""
        if key in _ENTER:
            return True
        if key in _STEPS:
            self.marked = (self.marked + _STEPS[key]) % len(self.options)
            return False
        self.marked = [option.key for option in self.options].index(key.lower())
        return True

    def draw(self, rows: int, columns: int) -> list[Fragments]:
        """Return the lines of the question. If rows are few, the options have precedence."""
        from nssh.tui import _text

        room = max(rows - len(self.options), min(1, rows - 1))
        above = [line for each in self._lines for line in _text.wrap(_text.shown(each), columns)]
        if len(above) > room:
            # Show the beginning of each line, rather than all of the first ones.
            above = [_text.cut(_text.shown(each), columns) for each in self._lines]
            if len(above) > room >= 3:
                above = [*above[: room - 1], _text.cut(f"  and {len(above) - room + 1} more", columns)]
            above = above[:room]
        height = rows - len(above)
        first = min(max(0, self.marked - height + 1), max(0, len(self.options) - height))
        shown = range(first, min(first + height, len(self.options)))
        return [[("", line)] for line in above] + [self._option(number, columns) for number in shown]

    def _option(self, number: int, columns: int) -> Fragments:
        from nssh.tui import _text

        option = self.options[number]
        marked = number == self.marked
        widest = max(_text.width(_text.shown(each.label)) for each in self.options)
        label = _text.shown(option.label)
        hint = _text.shown(option.hint)
        text = f"{'>' if marked else ' '} {option.key}  {label}"
        if hint and columns >= 6 + widest + 2 + 8:
            text += " " * (widest - _text.width(label) + 2) + hint
        return [("class:marked" if marked else "", _text.cut(text, columns))]


def choose(lines: Sequence[str], options: Sequence[Option], default: int) -> str:
    """Ask the question at a terminal, as `nssh.tui.choose` describes."""
    if _terminal.is_dumb():
        chosen = _choose_by_lines(lines, options, default)
    else:
        from nssh.tui import _dialog

        choice = Choice(lines, options, default)
        _dialog.show(choice)
        chosen = options[choice.marked]
    question = printable(lines[0], LONGEST).rstrip(" :.") if lines else ""
    colon = "" if question.endswith("?") else ":"
    _terminal.write(f"{question}{colon} {printable(chosen.label)}\n")
    return chosen.key


def _choose_by_lines(lines: Sequence[str], options: Sequence[Option], default: int) -> Option:
    for line in lines:
        _terminal.write(f"{printable(line, LONGEST)}\n")
    for option in options:
        hint = f" ({option.hint})" if option.hint else ""
        _terminal.write(f"  {printable(f'{option.key}  {option.label}{hint}', LONGEST)}\n")
    words = {word.lower(): option for option in options for word in (option.key, option.label)}
    words[""] = options[default]
    asked = f"{'/'.join(option.key for option in options)}, or Enter for {options[default].key}: "
    with _terminal.signals():
        terminal.forget_keys()
        while True:
            _terminal.write(asked)
            answer = _terminal.read_line().lower()
            if answer in words:
                return words[answer]
