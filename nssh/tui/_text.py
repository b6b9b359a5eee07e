"""Fits text to a terminal: printable, in its character set, cut, padded and wrapped by its width in columns."""

from __future__ import annotations

from prompt_toolkit.utils import get_cwidth

from nssh.base.printable import LONGEST, printable
from nssh.tui import _terminal

# Selects the emoji form of the character before it, which some terminals draw in one column and some in two.
_EMOJI_SHAPE = "\ufe0f"


def shown(text: str) -> str:
    """Return text as one printable line of bounded length, in the terminal's character set."""
    encoding = _terminal.encoding()
    return printable(text.replace(_EMOJI_SHAPE, ""), LONGEST).encode(encoding, "replace").decode(encoding, "replace")


def width(text: str) -> int:
    """Return how many columns a text takes."""
    return get_cwidth(text)


def cut(text: str, columns: int) -> str:
    """Return a text cut to a number of columns; an ellipsis marks the cut."""
    if width(text) <= columns:
        return text
    mark = shown("…").replace("?", "~")
    kept, room = "", columns - width(mark)
    if room < 0:
        return ""
    for character in text:
        room -= width(character)
        if room < 0:
            break
        kept += character
    return kept + mark


def pad(text: str, columns: int) -> str:
    """Return a text cut or padded to exactly a number of columns."""
    text = cut(text, columns)
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> list[str]:
    """Wrap a text to lines of at most a number of columns. All lines are indented like the first."""
    if width(text) <= columns:
        return [text]
    indent = " " * min(len(text) - len(text.lstrip()), columns // 4)
    lines, line = [], indent
    for word in text.split():
        candidate = f"{line} {word}" if line.strip() else line + word
        if line.strip() and width(candidate) > columns:
            lines.append(line)
            candidate = indent + word
        line = candidate
    return [cut(each, columns) for each in (*lines, line)]
