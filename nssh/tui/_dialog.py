"""Showing a dialog with prompt_toolkit until it is decided."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from nssh.base import terminal
from nssh.base.errors import Cancelled
from nssh.tui import _terminal
from nssh.tui._key_reader import KeyInput

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds after which an Escape byte is a key of its own.
_ESCAPE_DELAY = 0.1

CANCELLING = ("c-c", "c-d", "escape")

Fragments = list[tuple[str, str]]
"""Text in pieces, each with its style: `` or `class:marked`, `class:key`, `class:title`."""


class Dialog(Protocol):
    """What is shown, and what keys do to it; knows nothing of prompt_toolkit."""

    keys: Sequence[str]
    """The keys that mean something, by prompt_toolkit's names."""

    def press(self, key: str) -> bool:
        """Take a key; return whether everything is decided now."""

    def draw(self, rows: int, columns: int) -> list[Fragments]:
        """Return the lines to be shown, at most `rows`, none wider than `columns`."""


class _Screen:
    """Where prompt_toolkit writes: the terminal itself, unbuffered. That it is gone is noticed by reading."""

    encoding = property(lambda _: _terminal.encoding())

    def __init__(self) -> None:
        self.asks = False
        """Whether the next thing to be written is the question, for the first time."""

    def write(self, text: str) -> int:
        if self.asks:
            # At the last moment: nobody can have seen it before.
            self.asks = False
            terminal.forget_keys()
        _terminal.write(text)
        return len(text)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return _terminal.SCREEN

    def isatty(self) -> bool:
        return True


class Output(Vt100_Output):
    """The terminal, which is never asked where its cursor is, and whose cursor goes on blinking."""

    def __init__(self) -> None:
        self.screen = _Screen()
        stdout: Any = self.screen  # it has all that is used of a TextIO
        super().__init__(stdout, lambda: Size(*_terminal.size()), term=os.environ.get("TERM"), enable_cpr=False)

    def before_render(self, application: Application[Any]) -> None:
        """Take note that something is drawn next."""
        self.screen.asks = application.render_counter == 1

    def show_cursor(self) -> None:
        """Show it, without switching its blinking off as well."""
        self.write_raw("\x1b[?25h")

    def hide_cursor(self) -> None:
        """Hide it."""
        self.write_raw("\x1b[?25l")


def style() -> Style:
    """Return how the parts of a dialog look."""
    if _terminal.is_plain():
        return Style([])
    return Style([("marked", "reverse"), ("key", "bold"), ("title", "bold")])


def show(dialog: Dialog, *, full_screen: bool = False) -> None:
    """Show a dialog until it is decided; what was drawn is gone then.

    Raises:
        Cancelled: The user cancelled, or the terminal is gone.
    """
    with _terminal.signals() as came:
        asyncio.run(_run(dialog, came, full_screen=full_screen))


async def _run(dialog: Dialog, came: list[int], *, full_screen: bool) -> None:
    application: Application[None]

    def end(reason: BaseException) -> None:
        if application.future is not None and not application.future.done():
            application.exit(exception=reason)

    def on_signal(number: int) -> None:
        came.append(number)
        end(Cancelled())

    def press(event: KeyPressEvent) -> None:
        key = str(getattr(event.key_sequence[0].key, "value", event.key_sequence[0].key))
        if key in CANCELLING:
            end(Cancelled())
        elif dialog.press(key):
            application.exit()

    def before() -> None:
        # From here on the question can be ended; until now a signal had its ordinary effect.
        for number in _terminal.ENDING:
            if not _terminal.ignored(number):
                loop.add_signal_handler(number, on_signal, number)

    def text() -> FormattedText:
        rows, columns = _terminal.size()
        lines = dialog.draw(rows, columns)
        return FormattedText([piece for line in lines for piece in (("", "\n"), *line)][1:])

    bindings = KeyBindings()
    for key in {*dialog.keys, *CANCELLING}:
        bindings.add(key, eager=True)(press)
    loop = asyncio.get_running_loop()
    output = Output()
    loop.set_exception_handler(lambda _, context: end(context.get("exception") or EOFError()))
    application = Application(
        # The cursor stays on the first line: a terminal that wraps lines anew when it becomes narrower moves all that
        # is below it, and what is erased before the next drawing starts at the cursor.
        layout=Layout(Window(FormattedTextControl(text), wrap_lines=False, always_hide_cursor=True)),
        key_bindings=bindings,
        style=style(),
        include_default_pygments_style=False,
        color_depth=ColorDepth.DEPTH_1_BIT,
        full_screen=full_screen,
        erase_when_done=True,
        input=KeyInput(sys.stdin, lambda: application.is_done),
        output=output,
        before_render=output.before_render,
    )
    application.ttimeoutlen = _ESCAPE_DELAY
    await application.run_async(pre_run=before, set_exception_handler=False, handle_sigint=False)
