"""Text in columns of a terminal: printable, in its character set, cut and wrapped by width."""

from __future__ import annotations

from prompt_toolkit.utils import get_cwidth

from nssh.base.printable import LONGEST, printable
from nssh.tui import _terminal

# Asks for the colourful shape of the character before it, which terminals draw in one column or in two.
_EMOJI_SHAPE = "\ufe0f"


def shown(text: str) -> str:
    """Return text of anybody as the terminal can show it: one line, bounded, nothing that its character set lacks."""
    encoding = _terminal.encoding()
    return printable(text.replace(_EMOJI_SHAPE, ""), LONGEST).encode(encoding, "replace").decode(encoding, "replace")


def width(text: str) -> int:
    """Return how many columns text takes."""
    return get_cwidth(text)


def cut(text: str, columns: int) -> str:
    """Return text that takes at most so many columns; an ellipsis marks that something is missing."""
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
    """Return text that takes exactly so many columns."""
    text = cut(text, columns)
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> list[str]:
    """Return text as lines that take at most so many columns each, with the indentation of the first in all of them."""
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
