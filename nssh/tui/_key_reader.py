"""Keys from a terminal, one by one: whole sequences, nothing beyond what is asked for, no reports, nothing pasted."""

from __future__ import annotations

import codecs
import os
import re
import select
from typing import TYPE_CHECKING

from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_ESCAPE = "\x1b"
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"
_WHOLE = re.compile(
    r"""\x1b(?:
        \[M...                                  # the old report of the mouse
      | \[\[.                                   # a function key of the Linux console
      | \[(?![M[])[0-?]*[ -/]*[@-~]             # a control sequence of ECMA-48
      | O.                                      # a key of the VT100's keypad
      | []P^_X][^\x07\x1b]*(?:\x07|\x1b\\)      # a string: the terminal tells its colours, or its version
      | [^][OP^_X\x1b]                          # Alt with a key
    )""",
    re.DOTALL | re.VERBOSE,
)
_LONGEST = 4096


class KeyReader:
    """Takes keys from a file descriptor; what is behind a key stays unread until the next one is asked for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pending = ""
        self._pasting = False
        # Whatever the locale: keys that mean something are ASCII.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.closed = False

    def read(self) -> Keys | str | None:
        """Return the next key; None if there is none yet, or no more at all: see `closed`."""
        while not self.closed and select.select([self._fd], [], [], 0)[0]:
            try:
                data = os.read(self._fd, 1)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                data = b""  # a terminal that is gone, which is an error to who is not its session's leader
            self.closed = not data
            self._pending += self._decoder.decode(data)
            key = self._key()
            if key is not None:
                return key
        return None

    def flush(self) -> Keys | str | None:
        """Return the key that an unfinished sequence is, now that nothing has followed it for a while."""
        pending, self._pending = self._pending, ""
        return Keys.Escape if pending == _ESCAPE and not self._pasting else None

    def _key(self) -> Keys | str | None:
        sequence = self._pending
        if sequence == _ESCAPE * 2:
            sequence = _ESCAPE
        elif not sequence or (sequence[0] == _ESCAPE and not _WHOLE.match(sequence) and len(sequence) < _LONGEST):
            return None
        self._pending = ""
        if sequence in {_PASTE, _PASTED}:
            self._pasting = sequence == _PASTE
            return None
        known = ANSI_SEQUENCES.get(sequence, sequence)
        if isinstance(known, tuple) or (not isinstance(known, Keys) and len(known) > 1):
            return None
        return None if self._pasting and known is not Keys.ControlC else known


class KeyInput(Vt100Input):
    """prompt_toolkit's input on a `KeyReader`."""

    def __init__(self, stdin: TextIO, is_over: Callable[[], bool]) -> None:
        """Read from a terminal until `is_over`."""
        super().__init__(stdin)
        self._is_over = is_over
        self._keys = KeyReader(stdin.fileno())

    @property
    def closed(self) -> bool:
        """Whether there is no more to come."""
        return self._keys.closed

    def read_keys(self) -> list[KeyPress]:
        """Return one key at most, so that those behind the deciding one stay where they are."""
        return [] if self._is_over() else self._press(self._keys.read())

    def flush_keys(self) -> list[KeyPress]:
        """Return the Escape key, if that was it."""
        return [] if self._is_over() else self._press(self._keys.flush())

    @staticmethod
    def _press(key: Keys | str | None) -> list[KeyPress]:
        return [] if key is None else [KeyPress(key)]
