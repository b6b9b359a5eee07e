"""Asks a question that one key, or a word, answers; see `nssh.tui.choose`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.base import terminal
from nssh.base.errors import Cancelled
from nssh.base.printable import LONGEST, printable
from nssh.tui import _terminal, _unread_keys
from nssh.tui._answer_words import Answer, AnswerWords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.tui import Option
    from nssh.tui._dialog import Fragments

_STEPS = {"up": -1, "left": -1, "s-tab": -1, "down": 1, "right": 1, "c-i": 1}
_CANCELLING = ("q", "quit", "cancel")

# Seconds. So long after an option's key, the next key may still be the next letter of its word; and so long inside a
# word. The former is what a user waits for who presses one key.
_AFTER_KEY = 0.25
_IN_WORD = 1.0
# Where keys can't be put back, they are only read if they come at once; `_unread_keys.skip_word` waits for others.
_AT_ONCE = 0.02


def words_of(options: Sequence[Option]) -> dict[str, int | None]:
    """Return the words that answer a question, each with the index of its option; None cancels."""
    words: dict[str, int | None] = {}
    for number, option in enumerate(options):
        label = option.label.lower()
        for word in (option.key, label, label.split()[0].strip(",.")):
            words.setdefault(word, number)
    for word in _CANCELLING:
        words.setdefault(word, None)
    return words


class Choice:
    """The state of a question: its options, which of them is marked, and what was typed of a word.

    Attributes:
        marked: The index of the marked option; in the end, of the chosen one.
        cancelled: Whether the answer was a word that cancels.
        lost: Whether keys behind the answer were lost.
        expected: The letters that may still come of the answer's word; empty if they were waited for.
    """

    def __init__(self, lines: Sequence[str], options: Sequence[Option], default: int, *, patient: bool = True) -> None:
        """Begin with the default marked; `patient` as `_unread_keys.are_taken_back` tells."""
        self.marked = default
        self.options = options
        self.cancelled = False
        self.lost = False
        self.expected = ""
        self.keys: Sequence[str] = ("<any>",)
        self._lines = lines
        self._patient = patient
        self._words = words_of(options)
        self._typed = AnswerWords(self._words)
        self._answer: Answer | None = None

    @property
    def wait(self) -> float | None:
        """The seconds that a further key is waited for; None if nothing was typed yet."""
        typed = self._typed.typed
        if not typed:
            return None
        return (_AFTER_KEY if len(typed) == 1 else _IN_WORD) if self._patient else _AT_ONCE

    def press(self, key: str, data: bytes) -> bool:
        """Handle a key; return whether the question is answered."""
        if key in _STEPS and not self._typed.typed:
            self.marked = (self.marked + _STEPS[key]) % len(self.options)
            return False
        return self._take(self._typed.paste(data) if key == "<bracketed-paste>" else self._typed.press(key, data))

    def pause(self) -> bool:
        """Handle that no further key has come; return whether the question is answered."""
        typed = self._typed.typed
        if not self._patient:
            longer = (word for word in self._words if word.startswith(typed) and word != typed)
            self.expected = min(longer, key=len, default=typed)[len(typed) :]
        return self._take(self._typed.pause())

    def _take(self, answer: Answer | None) -> bool:
        typed = self._typed.typed if answer is None else answer.word
        if typed:
            meant = next((option for word, option in self._words.items() if word.startswith(typed)), None)
            self.marked = self.marked if meant is None else meant
            self.cancelled = answer is not None and meant is None
        self._answer = answer
        return answer is not None

    def finish(self, unfinished: bytes) -> None:
        """Leave what was typed behind the answer to the next program."""
        rest = (self._answer.rest if self._answer is not None else b"") + unfinished
        if self._answer is not None and self._answer.entered and not rest:
            rest = _unread_keys.skip_enters()
        self.lost = bool(rest) and not _unread_keys.give_back(rest)

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
        _tell(lines, chosen)
        return chosen.key
    from nssh.tui import _dialog

    choice = Choice(lines, options, default, patient=_unread_keys.are_taken_back())
    _dialog.show(choice)
    chosen = options[choice.marked]
    if not choice.cancelled:
        _tell(lines, chosen)
    if choice.expected:
        with _terminal.signals():
            choice.lost = not _unread_keys.skip_word(choice.expected, _AFTER_KEY, _IN_WORD)
    if choice.lost:
        _terminal.write("nssh: what was typed behind the answer was thrown away: this system takes no keys back\n")
    if choice.cancelled:
        raise Cancelled
    return chosen.key


def _tell(lines: Sequence[str], chosen: Option) -> None:
    """Leave the question's first line on the screen, with the answer."""
    question = printable(lines[0], LONGEST).rstrip(" :.") if lines else ""
    colon = "" if question.endswith("?") else ":"
    _terminal.write(f"{question}{colon} {printable(chosen.label)}\n")


def _choose_by_lines(lines: Sequence[str], options: Sequence[Option], default: int) -> Option:
    for line in lines:
        _terminal.write(f"{printable(line, LONGEST)}\n")
    for option in options:
        hint = f" ({option.hint})" if option.hint else ""
        _terminal.write(f"  {printable(f'{option.key}  {option.label}{hint}', LONGEST)}\n")
    words = {**words_of(options), "": default}
    asked = f"{'/'.join(option.key for option in options)}, or Enter for {options[default].key}: "
    with _terminal.signals():
        terminal.forget_keys()
        while True:
            _terminal.write(asked)
            answer = _terminal.read_line().lower()
            if answer in words:
                break
            _terminal.write(f"{printable(answer, LONGEST)}: not one of these\n")
        _unread_keys.skip_enters_of_line()
    number = words[answer]
    if number is None:
        raise Cancelled
    return options[number]
