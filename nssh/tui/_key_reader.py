"""Reads keys from a terminal one by one, without reading ahead; drops the terminal's own reports."""

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
_LONGEST_PASTE = 1024
"""Bytes of pasted text that are kept. Longer text is no answer, and the terminal could not take it back."""


class KeyReader:
    """Reads keys from a file descriptor. The bytes after a key stay unread until the next key is wanted.

    Attributes:
        closed: Whether the input has ended.
        data: The bytes of the last key; of `Keys.BracketedPaste`, the text that was pasted.
        pasting: Whether pasted text has begun, and not ended yet.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pending = ""
        self._unfinished = b""
        self._pasted = b""
        self.pasting = False
        self.data = b""
        # UTF-8 in any locale: the keys that are handled are ASCII.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.closed = False

    def read(self) -> Keys | str | None:
        """Return the next key; None if there is none yet, or the input has ended."""
        while not self.closed and select.select([self._fd], [], [], 0)[0]:
            try:
                data = os.read(self._fd, 1)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                data = b""  # the terminal is gone: reading fails with EIO, unless this process leads the session
            self.closed = not data
            self._unfinished += data
            self._pending += self._decoder.decode(data)
            key = self._key()
            if key is not None:
                return key
        return None

    def flush(self) -> Keys | str | None:
        """Return Escape if that is pending, now that no further byte of a sequence has followed; otherwise None."""
        pending, self._pending = self._pending, ""
        if pending:
            self.data, self._unfinished = self._unfinished, b""
        return Keys.Escape if pending == _ESCAPE and not self.pasting else None

    def take_unfinished(self) -> bytes:
        """Return the bytes of a key that has not ended yet, and forget them."""
        unfinished, self._unfinished, self._pending = self._unfinished, b"", ""
        return unfinished

    def _key(self) -> Keys | str | None:
        sequence = self._pending
        if sequence == _ESCAPE * 2:
            sequence = _ESCAPE
        elif not sequence or (sequence[0] == _ESCAPE and not _WHOLE.match(sequence) and len(sequence) < _LONGEST):
            return None
        self._pending = ""
        self.data, self._unfinished = self._unfinished, b""
        if sequence in {_PASTE, _PASTED}:
            return self._paste(begins=sequence == _PASTE)
        known = ANSI_SEQUENCES.get(sequence, sequence)
        if self.pasting and known is not Keys.ControlC:
            self._pasted += self.data[: _LONGEST_PASTE + 1 - len(self._pasted)]
            return None
        return None if isinstance(known, tuple) or (not isinstance(known, Keys) and len(known) > 1) else known

    def _paste(self, *, begins: bool) -> Keys | None:
        was_pasting, self.pasting = self.pasting, begins
        self.data, self._pasted = self._pasted, b""
        return Keys.BracketedPaste if was_pasting and not begins and len(self.data) <= _LONGEST_PASTE else None


class KeyInput(Vt100Input):
    """Feeds prompt_toolkit from a `KeyReader`."""

    def __init__(self, stdin: TextIO, is_over: Callable[[], bool]) -> None:
        """Read keys from a terminal until `is_over` returns true."""
        super().__init__(stdin)
        self._is_over = is_over
        self.keys = KeyReader(stdin.fileno())

    @property
    def closed(self) -> bool:
        """Whether the input has ended."""
        return self.keys.closed

    def read_keys(self) -> list[KeyPress]:
        """Return one key at most, so that the keys after the deciding one stay with the terminal."""
        return [] if self._is_over() else self._press(self.keys.read())

    def flush_keys(self) -> list[KeyPress]:
        """Return the Escape key, if that is pending."""
        return [] if self._is_over() else self._press(self.keys.flush())

    def _press(self, key: Keys | str | None) -> list[KeyPress]:
        return [] if key is None else [KeyPress(key)]
