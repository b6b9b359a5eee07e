"""Saves and restores the state of the user's terminal, and asks it who is in the foreground."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Switch off mouse reporting in all its encodings, focus events, bracketed paste, application cursor keys and keypad.
# Leave the alternate screen by 1047, which unlike 1049 does not move the cursor if the main screen is shown. Pop the
# kitty keyboard protocol, show the cursor, reset the colours. Terminals ignore sequences that they do not know.
_RESET = (
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l"
    b"\x1b[?1l\x1b>\x1b[?1047l\x1b[<u\x1b[?25h\x1b[0m"
)


def in_foreground() -> bool:
    """Whether this process may read standard input: it is no terminal, or this process is in its foreground."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True


def touch() -> None:
    """Let the kernel stop this process group if it is in the terminal's background; otherwise do nothing.

    The kernel checks and stops in one step. A process that checked first could stop itself after `fg` has come.
    """
    import termios

    try:
        termios.tcdrain(0)
    except termios.error:
        return  # a signal came first, or the process group is orphaned


def modes() -> list[Any] | None:
    """Return the modes of the terminal on standard input; None if it is not a terminal."""
    import termios

    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def set_modes(attributes: list[Any] | None) -> None:
    """Set the terminal's modes to a result of `modes`, unless this process is in the background."""
    import termios

    if attributes is not None and in_foreground():
        try:
            termios.tcsetattr(0, termios.TCSADRAIN, attributes)
        except termios.error:
            return  # the terminal is gone


def forget_keys() -> None:
    """Throw away what was typed so far, before a question is shown."""
    import termios

    try:
        termios.tcflush(0, termios.TCIFLUSH)
    except termios.error:
        return  # no terminal, or none any more


class Terminal:
    """Keeps the terminal's modes as they are at its creation. Does nothing if there is no terminal."""

    def __init__(self) -> None:
        self._fd = next((fd for fd in (0, 1, 2) if os.isatty(fd)), None)
        self._attributes: list[Any] | None = None
        if self._fd is not None:
            import termios

            self._attributes = termios.tcgetattr(self._fd)

    def restore(self, *, reset: bool = True) -> None:
        """Restore the modes, once, and with `reset` switch off what full-screen programs switch on. Never raises."""
        if self._fd is None or self._attributes is None:
            return
        attributes, self._attributes = self._attributes, None
        import termios

        try:
            # A background process would be stopped by the kernel.
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                return
            termios.tcsetattr(self._fd, termios.TCSADRAIN, attributes)
            if reset and os.isatty(1) and os.environ.get("TERM", "dumb") not in {"", "dumb"}:
                os.write(1, _RESET)
        except (OSError, termios.error):
            return


def colors() -> str:
    """Return how many colors the terminal has, for mosh-server. Saves the 4 ms that `mosh-client -c` takes.

    Raises:
        OSError: Python's curses does not know the terminal, and mosh-client can't be started.
    """
    count = -1
    try:
        import _curses
    except ImportError:
        known = False  # a Python without curses
    else:
        try:
            _curses.setupterm(None, 1)
            count, known = _curses.tigetnum("colors"), True
        except _curses.error:
            known = False  # a terminal that terminfo does not know
    if not known:
        from nssh.base import spawn

        told = spawn.capture(["mosh-client", "-c"])[1].strip()
        count = int(told) if told.isdigit() else -1
    return str(count) if count >= 0 else "8"
