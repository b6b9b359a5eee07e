"""Handles keys that were typed behind an answer: puts them back, or skips those that belong to it.

What is typed can't be looked at without reading it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import sys
import termios
import time
import tty
from typing import TYPE_CHECKING

from nssh.base import terminal
from nssh.tui._terminal import KEYS

if TYPE_CHECKING:
    from typing import Any

_TIOCSTI = getattr(termios, "TIOCSTI", 0)  # OpenBSD has none
_QUEUE = 4096
"""The most bytes that a terminal keeps of what was typed and not read."""

# Seconds between looks whether a further letter has come.
_LOOK = 0.002


def are_taken_back() -> bool:
    """Whether the system lets a program put keys back (TIOCSTI). Linux forbids it since 6.2 in many distributions."""
    try:
        fcntl.ioctl(KEYS, _TIOCSTI, 0)  # no address of a byte: refused either way, but for different reasons
    except OSError as error:
        return error.errno == errno.EFAULT
    return True


def give_back(keys: bytes) -> bool:
    """Put keys back, before those that nobody has read yet, for the next program; return whether that was possible.

    The terminal must be in a mode in which it neither shows nor interprets keys. If it is not possible, all keys that
    were typed so far are thrown away: the second half of a command would be another command.
    """
    try:
        while len(keys) < _QUEUE and select.select([KEYS], [], [], 0)[0] and (more := os.read(KEYS, _QUEUE)):
            keys += more
        for key in keys:
            fcntl.ioctl(KEYS, _TIOCSTI, bytes([key]))
    except OSError:
        terminal.forget_keys()
        return False
    return True


def skip_enters() -> bytes:
    """Read the Enters that were typed at once behind an answer; return the byte behind them, if it had to be read.

    The terminal must be in a mode in which each key can be read alone.
    """
    back = are_taken_back()
    while select.select([KEYS], [], [], 0)[0]:
        # What can't be put back is better not read: an Enter in front of a command does no harm.
        if not back and unread() != 1:
            break
        try:
            key = os.read(KEYS, 1)
        except OSError:
            break
        if key not in {b"\r", b"\n"}:
            return key
    return b""


def unread() -> int:
    """Return how many bytes were typed and not read yet."""
    try:
        return int.from_bytes(fcntl.ioctl(KEYS, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def skip_word(rest: str, first: float, later: float) -> bool:
    """Read the rest of a word and Enter, if they are typed now; return whether nothing else was lost.

    If anything else is typed, nothing is read, so this works where no key can be put back. While the terminal collects
    lines, it tells how many bytes there are up to the last end of a line; so the one letter that would go on with the
    word is made an end of a line, and others are not counted.

    Args:
        rest: The letters, in lower case.
        first: Seconds to wait for the first letter.
        later: Seconds to wait for each other, and for Enter.
    """
    came = 0
    try:
        modes = termios.tcgetattr(KEYS)
    except termios.error:
        return True  # the terminal is gone
    try:
        if not unread():
            for letter in (*rest, "\r"):
                _end_lines_at(letter, modes)
                if not _have_come(came + 1, later if came else first):
                    break
                came += 1
        if came < len(rest):
            return True
        skipped = b"".join(os.read(KEYS, 1) for _ in range(came))
    except (OSError, termios.error):
        return True
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(KEYS, termios.TCSANOW, modes)
    is_word = skipped.lower() == f"{rest}\r".encode()[:came]
    if not is_word:
        terminal.forget_keys()
    return is_word


def _end_lines_at(letter: str, modes: list[Any]) -> None:
    """Let the terminal collect lines that end at a letter, without showing or interpreting keys, but for Ctrl-C."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = modes
    iflag &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
    lflag = (lflag | termios.ICANON | termios.IEXTEN) & ~(termios.ECHO | termios.ECHONL)
    characters = list(characters)
    for name in ("VERASE", "VKILL", "VWERASE", "VREPRINT", "VLNEXT", "VEOF"):
        characters[getattr(termios, name)] = bytes([os.fpathconf(KEYS, "PC_VDISABLE")])
    characters[termios.VEOL], characters[termios.VEOL2] = letter.encode(), letter.upper().encode()
    termios.tcsetattr(KEYS, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, characters])


def _have_come(count: int, seconds: float) -> bool:
    """Wait until there are so many bytes, and not more; return whether there are."""
    end = time.monotonic() + seconds
    while unread() < count and time.monotonic() < end:
        time.sleep(_LOOK)
    return unread() == count


def skip_enters_of_line() -> None:
    """Do as `skip_enters` behind a line, whatever the terminal's mode is."""
    try:
        modes = termios.tcgetattr(KEYS)
        tty.setraw(KEYS, termios.TCSANOW)
        try:
            if key := skip_enters():
                give_back(key)
        finally:
            termios.tcsetattr(KEYS, termios.TCSANOW, modes)
    except termios.error:
        return  # the terminal is gone
