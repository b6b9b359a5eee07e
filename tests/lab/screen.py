"""What a user sees in a terminal window: a terminal emulator (pyte) fed with all that a `Terminal` has shown.

with Terminal([...], env, rows=10, columns=40) as window:
    screen = Screen(window, rows=10, columns=40)
    screen.wait("Join")
    assert screen.lines[0] == "already connected"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyte

from tests.lab.terminal import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.terminal import Terminal


class Screen:
    """The emulator.

    Attributes:
        window: The terminal, whose program is shown.
    """

    def __init__(self, window: Terminal, *, rows: int = 24, columns: int = 80, reflows: bool = False) -> None:
        """Begin with an empty screen of the window's size.

        Args:
            window: The terminal.
            rows: As it was started with.
            columns: As it was started with.
            reflows: Wrap long lines anew when the window becomes narrower, as most terminals do, instead of cutting
                them, as xterm does.
        """
        self.window = window
        self._reflows = reflows
        self._fed = 0
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """The rows, without what is empty at their ends and below them."""
        self._feed()
        rows = [row.rstrip() for row in self._screen.display]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    @property
    def reversed(self) -> list[str]:
        """The rows that begin in reverse video."""
        lines = self.lines
        return [line for number, line in enumerate(lines) if self._screen.buffer[number][0].reverse]

    def column_of(self, row: int, text: str) -> int:
        """Return the column, from 0, at which a text stands in a row; wide characters take two."""
        self._feed()
        cells = [self._screen.buffer[row][column].data for column in range(self._screen.columns)]
        for column in range(len(cells)):
            if "".join(cells[column : column + len(text)]) == text:
                return column
        raise ValueError(f"no {text!r} in {''.join(cells)!r}")

    @property
    def cursor(self) -> tuple[int, int]:
        """The row and column of the cursor, from 0."""
        self._feed()
        return self._screen.cursor.y, self._screen.cursor.x

    @property
    def cursor_shown(self) -> bool:
        """Whether the cursor is visible."""
        self._feed()
        return not self._screen.cursor.hidden

    def wait(self, wanted: str | Callable[[list[str]], object], deadline: float = DEADLINE) -> list[str]:
        """Wait until a text is on the screen, or a condition on its lines is true; return the lines.

        Raises:
            TimeoutError: It did not come to pass within `deadline` seconds.
        """
        condition = (lambda lines: wanted in "\n".join(lines)) if isinstance(wanted, str) else wanted
        try:
            self.window.wait_until(lambda: condition(self.lines), f"{wanted!r} on the screen", deadline)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\nThe screen:\n{self.text}") from None
        return self.lines

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size, when all that belongs to the old one has been shown."""
        lines = self.lines
        if self._reflows and columns < self._screen.columns:
            self._reflow(lines, columns)
        self._screen.resize(rows, columns)
        self.window.resize(rows, columns)

    def _reflow(self, lines: list[str], columns: int) -> None:
        """Write the lines again, as a narrower terminal wraps them; the cursor stays with its line."""
        row = self._screen.cursor.y
        wrapped = [[line[at : at + columns] for at in range(0, max(len(line), 1), columns)] for line in lines]
        cursor = sum(len(parts) for parts in wrapped[:row])
        rows = [part for parts in wrapped for part in parts]
        self._screen.erase_in_display(2)
        for number, text in enumerate(rows[-self._screen.lines :]):
            self._screen.cursor_position(number + 1, 1)
            self._screen.draw(text)
        self._screen.cursor_position(cursor - max(0, len(rows) - self._screen.lines) + 1, 1)

    def _feed(self) -> None:
        self.window.rest()
        output = self.window.output
        self._stream.feed(output[self._fed :])
        self._fed = len(output)
