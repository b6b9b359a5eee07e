"""The progress of several hosts, as a line at the bottom of the terminal. prompt_toolkit only if they take a while."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Self, TextIO

from nssh.base.printable import LONGEST, printable
from nssh.tui import _terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.tui._bar import Bar

# Seconds; who answers within them needs no progress shown, and is not kept waiting by the import of what draws it.
_PATIENCE = 0.4


class Progress:
    """Shows on standard error which hosts have not answered yet, and prints what is told meanwhile above that.

    Where standard error is no terminal, or one without cursor movements, nothing is shown, and the rest works as well.
    The terminal's modes and its input are not touched, so Ctrl-C is the usual signal. Used by one thread.

        with Progress("asking", ["alpha", "beta"]) as progress:
            progress.done("beta", "beta: 3 mosh-servers")
    """

    def __init__(self, title: str, hosts: Sequence[str]) -> None:
        """Begin with all hosts unanswered; `title` is a word or two on what goes on."""
        self._title = title
        self._total = len(hosts)
        self._waiting = list(hosts)
        self._shows = os.isatty(_terminal.SCREEN) and not _terminal.is_dumb() and bool(hosts)
        self._over = threading.Event()
        self._starter: threading.Thread | None = None
        self._lock = threading.Lock()  # between the thread that starts the bar, and everybody else
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if self._shows and self._total == 1:
            self._draw_line()
        elif self._shows:
            self._starter = threading.Thread(target=self._start, name="progress", daemon=True)
            self._starter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._starter is not None:
            self._starter.join()
        if self._bar is not None:
            self._bar.stop()
        elif self._shows and self._total == 1:
            self._erase_line()

    def done(self, host: str, text: str = "") -> None:
        """Count a host as answered, and print what it has answered, if anything."""
        if host in self._waiting:
            self._waiting = [name for name in self._waiting if name != host]
        if text:
            self.note(text)
        elif self._bar is not None:
            self._bar.redraw()

    def note(self, line: str, file: TextIO | None = None) -> None:
        """Print a line above the progress.

        Args:
            line: It may hold what a remote said.
            file: Where to; standard output by default.
        """
        file = file or sys.stdout
        text = printable(line, LONGEST)

        def write() -> None:
            print(text, file=file, flush=True)

        with self._lock:
            if self._bar is not None:
                self._bar.above(write)
            elif self._shows and self._total == 1:
                self._erase_line()
                write()
                self._draw_line()
            else:
                write()

    def _start(self) -> None:
        if self._over.wait(_PATIENCE):
            return
        from nssh.tui._bar import Bar

        with self._lock:
            if not self._over.is_set():
                self._bar = Bar(self._format)

    def _format(self, columns: int, cut: Callable[[str, int], str]) -> str:
        waiting = self._waiting
        done = self._total - len(waiting)
        width = min(20, columns // 4)
        filled = width * done // self._total
        bar = f"[{'=' * filled}{' ' * (width - filled)}] " if width >= 5 else ""
        names = f" {printable(self._title)} {', '.join(map(printable, waiting))}" if waiting else ""
        return cut(f"{bar}{done}/{self._total}{names}", columns)

    def _draw_line(self) -> None:
        if self._waiting:
            text = printable(f"{self._title} {self._waiting[0]}", _terminal.size()[1])
            # Without wrapping, should the name of a host be wider than it is long.
            _terminal.write(f"\x1b[?7l{text}\x1b[?7h\r")

    def _erase_line(self) -> None:
        _terminal.write("\r\x1b[K")
