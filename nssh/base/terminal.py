"""Giving the user's terminal back as it was, whatever the session's programs left behind."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Mouse reporting in all its encodings, focus events and bracketed paste off; application cursor keys and keypad off;
# the alternate screen left by 1047, which unlike 1049 does not move the cursor where no alternate screen was in use;
# the kitty keyboard protocol popped; cursor shown; colours reset. What a terminal does not know, it ignores.
_RESET = (
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l"
    b"\x1b[?1l\x1b>\x1b[?1047l\x1b[<u\x1b[?25h\x1b[0m"
)


def in_foreground() -> bool:
    """Whether standard input is no terminal, or one whose keys are for us."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True


def touch() -> None:
    """Use the terminal, with no effect but that the kernel stops our process group if it is in the background.

    It looks and stops in one step. Who looks and then stops itself may do so when `fg` has come in between.
    """
    import termios

    try:
        termios.tcdrain(0)
    except termios.error:
        return  # a signal came first, or nobody could continue us


def modes() -> list[Any] | None:
    """Return the modes of the terminal on standard input, None if there is none."""
    import termios

    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def set_modes(attributes: list[Any] | None) -> None:
    """Set what `modes` returned."""
    import termios

    if attributes is not None and in_foreground():
        try:
            termios.tcsetattr(0, termios.TCSADRAIN, attributes)
        except termios.error:
            return  # it is gone


def forget_keys() -> None:
    """Throw away what was typed so far: whoever typed it had not seen the question that comes now."""
    import termios

    try:
        termios.tcflush(0, termios.TCIFLUSH)
    except termios.error:
        return  # no terminal, or none any more


class Terminal:
    """The terminal as it was when the launcher started; does nothing where there is none."""

    def __init__(self) -> None:
        self._fd = next((fd for fd in (0, 1, 2) if os.isatty(fd)), None)
        self._attributes: list[Any] | None = None
        if self._fd is not None:
            import termios

            self._attributes = termios.tcgetattr(self._fd)

    def restore(self, *, reset: bool = True) -> None:
        """Put the modes back and, with `reset`, switch off what full-screen programs switch on; once.

        Never raises: the terminal may be gone.
        """
        if self._fd is None or self._attributes is None:
            return
        attributes, self._attributes = self._attributes, None
        import termios

        try:
            # Only where we are in the foreground: a background process would be stopped by writing.
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                return
            termios.tcsetattr(self._fd, termios.TCSADRAIN, attributes)
            if reset and os.isatty(1) and os.environ.get("TERM", "dumb") not in {"", "dumb"}:
                os.write(1, _RESET)
        except (OSError, termios.error):
            return


def colors() -> str:
    """Return how many colors the terminal has, which mosh-server is told; `mosh-client -c` would say it 4 ms later.

    Raises:
        OSError: Python does not know this terminal, and mosh-client can't be started to ask it.
    """
    count = -1
    try:
        import _curses
    except ImportError:
        known = False  # a Python without it
    else:
        try:
            _curses.setupterm(None, 1)
            count, known = _curses.tigetnum("colors"), True
        except _curses.error:
            known = False  # a terminal that its terminfo lacks
    if not known:
        from nssh.base import spawn

        told = spawn.capture(["mosh-client", "-c"])[1].strip()
        count = int(told) if told.isdigit() else -1
    return str(count) if count >= 0 else "8"
