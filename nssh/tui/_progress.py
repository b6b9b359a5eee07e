"""Shows which of several hosts have not answered yet, as a line at the bottom of the terminal."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Self, TextIO

from nssh.base.printable import LONGEST, printable
from nssh.tui import _terminal

if TYPE_CHECKING:
    from collections.abc import Sequence


class Progress:
    """Shows on standard error which hosts have not answered yet, and prints other lines above that.

    Nothing is shown if standard error is not a terminal, or one without cursor movements; lines are printed all the
    same. The terminal's modes and its input are not touched, so Ctrl-C is the usual signal. For the main thread only:
    it redraws at SIGWINCH.

        with Progress("waiting for", ["alpha", "beta"]) as progress:
            progress.done("beta", "beta: 3 mosh-servers")
    """

    def __init__(self, title: str, hosts: Sequence[str]) -> None:
        """Start with all hosts unanswered; `title` stands before their names."""
        self._title = title
        self._total = len(hosts)
        self._waiting = list(hosts)
        self._is_printing = False
        self._shows = os.isatty(_terminal.SCREEN) and not _terminal.is_dumb() and bool(hosts)

    def __enter__(self) -> Self:
        if self._shows:
            self._before = signal.signal(signal.SIGWINCH, self._resized)
            self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shows:
            signal.signal(signal.SIGWINCH, self._before or signal.SIG_DFL)
            self._erase()

    def done(self, host: str, text: str = "") -> None:
        """Count a host as answered, and print its answer, if there is one."""
        self._waiting = [name for name in self._waiting if name != host]
        if text:
            self.note(text)
        elif self._shows:
            self._draw()

    def note(self, line: str, file: TextIO | None = None) -> None:
        """Print a line above the progress.

        Args:
            line: Any text, which may come from a remote.
            file: Where to print it; standard output by default.
        """
        self._is_printing = True
        if self._shows:
            self._erase()
        print(printable(line, LONGEST), file=file or sys.stdout, flush=True)
        self._is_printing = False
        if self._shows:
            self._draw()

    def _resized(self, *_: object) -> None:
        if not self._is_printing:
            self._draw()

    def _draw(self) -> None:
        columns = _terminal.size()[1]
        names = f"{self._title} {', '.join(self._waiting)}" if self._waiting else ""
        if self._total > 1:
            done = self._total - len(self._waiting)
            width = min(20, columns // 4)
            filled = width * done // self._total
            bar = f"[{'=' * filled}{' ' * (width - filled)}] " if width >= 5 else ""
            names = f"{bar}{done}/{self._total} {names}".rstrip()
        # Without wrapping: some characters are wider than a column. Erase what a terminal that became narrower wrapped.
        _terminal.write(f"\r\x1b[J\x1b[?7l{printable(names, columns)}\x1b[?7h\r")

    def _erase(self) -> None:
        _terminal.write("\r\x1b[J")
