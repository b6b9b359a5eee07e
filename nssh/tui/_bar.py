"""prompt_toolkit's progress bar, with one line of ours in it, and without its hands on the terminal's input."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from prompt_toolkit.application import in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.shortcuts.progress_bar import ProgressBar
from prompt_toolkit.shortcuts.progress_bar.formatters import Formatter

from nssh.tui import _text
from nssh.tui._dialog import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from prompt_toolkit.shortcuts.progress_bar import ProgressBarCounter

# Seconds between looks at whether the bar's thread is still there.
_LOOK = 1.0


class _NoKeys(DummyInput):
    """No input, and no end of it."""

    @property
    def closed(self) -> bool:
        return False

    def attach(self, input_ready_callback: Callable[[], None]) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()


class _Passive(Output):
    """A terminal that is left in its usual state at every moment: whoever is killed here has nothing to put back."""

    def hide_cursor(self) -> None:
        pass

    def enable_bracketed_paste(self) -> None:
        pass

    def disable_bracketed_paste(self) -> None:
        pass


class _Line(Formatter):
    """The whole of the bar's row."""

    def __init__(self, draw: Callable[[int, Callable[[str, int], str]], str]) -> None:
        self._draw = draw

    def format(self, progress_bar: ProgressBar, progress: ProgressBarCounter[object], width: int) -> str:  # noqa: ARG002
        return _text.shown(self._draw(width, _text.cut))


class Bar:
    """The bar, drawn by a thread of its own."""

    def __init__(self, draw: Callable[[int, Callable[[str, int], str]], str]) -> None:
        """Show it.

        Args:
            draw: Is given the width, and a function that cuts a text to one, and returns the row; in the bar's thread.
        """
        self._bar = ProgressBar(
            formatters=[_Line(draw)],
            color_depth=ColorDepth.DEPTH_1_BIT,
            input=_NoKeys(),
            output=_Passive(),
            cancel_callback=lambda: None,
        )
        self._bar.__enter__()
        self._bar.app.erase_when_done = True
        self._bar(total=1)

    def redraw(self) -> None:
        """Show what has changed."""
        self._bar.invalidate()

    def above(self, write: Callable[[], object]) -> None:
        """Do something that writes to the terminal, above the bar; return when it is done."""

        async def work() -> None:
            with set_app(self._bar.app):
                async with in_terminal():
                    write()

        loop = self._bar.app.loop
        if loop is None:
            write()
            return
        future = asyncio.run_coroutine_threadsafe(work(), loop)
        # As long as it takes: the user may have stopped the output with Ctrl-S.
        while not concurrent.futures.wait([future], _LOOK).done:
            if not self._bar.app.is_running:
                write()
                return
        future.result()

    def stop(self) -> None:
        """Remove it."""
        with contextlib.suppress(RuntimeError):  # its loop has ended by itself
            self._bar.__exit__(None, None, None)
