"""Shows a dialog with prompt_toolkit until the user has decided."""

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
from nssh.tui._key_reader import KeyInput, KeyReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Seconds after which an Escape byte is a key of its own.
_ESCAPE_DELAY = 0.1

CANCELLING = ("c-c", "c-d", "escape")

Fragments = list[tuple[str, str]]
"""Pieces of a line, each a style and a text. The style is empty, `class:marked`, `class:key` or `class:title`."""


class Dialog(Protocol):
    """The content of a dialog and its reaction to keys, without prompt_toolkit."""

    keys: Sequence[str]
    """The keys that it handles, by prompt_toolkit's names."""

    @property
    def wait(self) -> float | None:
        """The seconds after which `pause` is called if no key has come; None if it waits for a key."""

    def press(self, key: str, data: bytes) -> bool:
        """Handle a key, which came as `data`; return whether the dialog is finished."""

    def pause(self) -> bool:
        """Handle that no key has come; return whether the dialog is finished."""

    def finish(self, unfinished: bytes) -> None:
        """Leave to the next program what was read and is not for the dialog, and the beginning of a key."""

    def draw(self, rows: int, columns: int) -> list[Fragments]:
        """Return the lines to show, at most `rows`, none wider than `columns`."""


class _Screen:
    """The file that prompt_toolkit writes to: the terminal, unbuffered. Ignores that it is gone: reading notices."""

    encoding = property(lambda _: _terminal.encoding())

    def __init__(self) -> None:
        self.asks = False
        """Whether the next write draws the question for the first time."""

    def write(self, text: str) -> int:
        if self.asks:
            # At the last moment: keys typed before the question was visible are no answer.
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
    """prompt_toolkit's output, without questions for the cursor's position and without stopping its blinking."""

    def __init__(self) -> None:
        self.screen = _Screen()
        stdout: Any = self.screen  # it has all that is used of a TextIO
        super().__init__(stdout, lambda: Size(*_terminal.size()), term=os.environ.get("TERM"), enable_cpr=False)

    def before_render(self, application: Application[Any]) -> None:
        """Note that the question is drawn next."""
        self.screen.asks = application.render_counter == 1

    def show_cursor(self) -> None:
        """Show the cursor. prompt_toolkit's own sequence would also stop its blinking."""
        self.write_raw("\x1b[?25h")

    def hide_cursor(self) -> None:
        """Hide the cursor."""
        self.write_raw("\x1b[?25l")


def style() -> Style:
    """Return the attributes of a dialog's parts."""
    if _terminal.is_plain():
        return Style([])
    return Style([("marked", "reverse"), ("key", "bold"), ("title", "bold")])


def show(dialog: Dialog, *, full_screen: bool = False) -> None:
    """Show a dialog until it is finished, then erase it.

    Raises:
        Cancelled: The user cancelled, or the terminal is gone.
    """
    with _terminal.signals() as came:
        asyncio.run(_run(dialog, came, full_screen=full_screen))


class _KeyHandler:
    """Gives a dialog the keys that come, and tells it when none has come."""

    def __init__(
        self, dialog: Dialog, keys: KeyReader, finish: Callable[[], object], end: Callable[[BaseException], object]
    ) -> None:
        """Call `finish` when the dialog is finished, and `end` with the reason when it is to end otherwise."""
        self._dialog = dialog
        self._keys = keys
        self._finish = finish
        self._end = end
        self._timer: asyncio.TimerHandle | None = None

    def press(self, event: KeyPressEvent) -> None:
        if self._timer is not None:
            self._timer.cancel()
        key = str(getattr(event.key_sequence[0].key, "value", event.key_sequence[0].key))
        if key in CANCELLING:
            self._end(Cancelled())
        else:
            self._go_on(is_finished=self._dialog.press(key, self._keys.data))

    def _pause(self) -> None:
        self._go_on(is_finished=not self._keys.pasting and self._dialog.pause())

    def _go_on(self, *, is_finished: bool) -> None:
        if is_finished:
            self._finish()
        elif self._dialog.wait is not None:
            self._timer = asyncio.get_running_loop().call_later(self._dialog.wait, self._pause)


async def _run(dialog: Dialog, came: list[int], *, full_screen: bool) -> None:
    application: Application[None]

    def end(reason: BaseException) -> None:
        if application.future is not None and not application.future.done():
            application.exit(exception=reason)

    def on_signal(number: int) -> None:
        came.append(number)
        end(Cancelled())

    def finish() -> None:
        if not application.is_done:
            dialog.finish(key_input.keys.take_unfinished())
            application.exit()

    def before() -> None:
        # The application runs now, so that signals can end it. Until now `_terminal.signals` handled them.
        for number in _terminal.ENDING:
            if not _terminal.ignored(number):
                loop.add_signal_handler(number, on_signal, number)

    def text() -> FormattedText:
        rows, columns = _terminal.size()
        lines = dialog.draw(rows, columns)
        return FormattedText([piece for line in lines for piece in (("", "\n"), *line)][1:])

    loop = asyncio.get_running_loop()
    output = Output()
    key_input = KeyInput(sys.stdin, lambda: application.is_done)
    handler = _KeyHandler(dialog, key_input.keys, finish, end)
    bindings = KeyBindings()
    for key in {*dialog.keys, *CANCELLING}:
        bindings.add(key, eager=True)(handler.press)
    loop.set_exception_handler(lambda _, context: end(context.get("exception") or EOFError()))
    application = Application(
        # The cursor stays on the first line. A terminal that becomes narrower may wrap the lines below it; erasing
        # starts at the cursor, so it removes them all.
        layout=Layout(Window(FormattedTextControl(text), wrap_lines=False, always_hide_cursor=True)),
        key_bindings=bindings,
        style=style(),
        include_default_pygments_style=False,
        color_depth=ColorDepth.DEPTH_1_BIT,
        full_screen=full_screen,
        erase_when_done=True,
        input=key_input,
        output=output,
        before_render=output.before_render,
    )
    application.ttimeoutlen = _ESCAPE_DELAY
    await application.run_async(pre_run=before, set_exception_handler=False, handle_sigint=False)
