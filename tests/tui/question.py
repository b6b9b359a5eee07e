"""A question on a real terminal, and how it should look, be answered and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.tui.window import asking

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.lab.screen import Screen


LINES = ["me@devbox is connected already (me@devbox:22):", "  pid 1234, devbox, mosh, up 2h, answers in 43 ms"]


OPTIONS = [
    ("j", "Join", "share clipboard and browser with it"),
    ("r", "Replace", "end it and go on here"),
    ("n", "New topic", "leave it alone"),
    ("c", "Cancel", "connect to nothing"),
]


SHOWN = [
    *LINES,
    "> j  Join       share clipboard and browser with it",
    "  r  Replace    end it and go on here",
    "  n  New topic  leave it alone",
    "  c  Cancel     connect to nothing",
]


def question(default: int = 0, *, lines: list[str] = LINES, **options: Any) -> AbstractContextManager[Screen]:
    return asking("choose", lines, OPTIONS, default, **options)


def marked(label: str) -> Callable[[list[str]], bool]:
    return lambda lines: any(line.startswith(">") and label in line for line in lines)


def is_shown(expected: list[str]) -> Callable[[list[str]], bool]:
    return lambda lines: lines == expected


def end(screen: Screen) -> int:
    """Wait for the program's end; the terminal must be as it was, and must not have been asked anything."""
    code = screen.window.wait()
    assert screen.window.attributes() == screen.window.initial
    assert b"\x1b[6n" not in screen.window.output
    assert "CPR" not in screen.text
    assert screen.cursor_shown
    return code


def assert_cancelled(screen: Screen) -> None:
    assert end(screen) == 130
    assert screen.lines == ["nssh: cancelled"]
