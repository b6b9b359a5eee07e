"""A stream to a command behind a login shell that may print what it likes first."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError

if TYPE_CHECKING:
    from nssh.ssh.connection import ByteStream

_NOISE_LIMIT = 64 * 1024
_TIMEOUT = 15.0
"""Seconds until the command must have begun to speak."""


def new_mark() -> str:
    """Return a random word for the command to print on a line of its own before anything else."""
    return os.urandom(8).hex()


class MarkedStream:
    """The stream from behind the mark on; what came before it (start-up files, banners) is dropped.

    The mark is looked for with the first `recv`, so that waiting for it costs no round trip of its own.
    """

    def __init__(self, stream: ByteStream, mark: str) -> None:
        self._stream = stream
        self._mark = f"\n{mark}\n".encode()
        self._found = False
        self._rest = b""
        self.sendall = stream.sendall
        self.settimeout = stream.settimeout
        self.fileno = stream.fileno
        self.close = stream.close

    @property
    def stderr(self) -> str:
        """What the command wrote to its standard error, the last of it."""
        return str(getattr(self._stream, "stderr", ""))

    def recv(self, size: int, /) -> bytes:
        """Return what arrived, `size` bytes at most; b"" at the end.

        Raises:
            ConnectError: The command's mark does not come.
            OSError: As the stream raises.
        """
        if not self._found:
            self._skip()
        if self._rest:
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        return self._stream.recv(size)

    def _skip(self) -> None:
        seen = b"\n"
        deadline = time.monotonic() + _TIMEOUT
        while (at := seen.find(self._mark)) < 0:
            data = self._stream.recv(_NOISE_LIMIT)
            if not data:
                self._found = True
                return  # ended without it: an end of the stream like any other
            seen += data
            # What stands behind the mark is no noise: with it a whole backlog may have arrived.
            if self._mark not in seen and (len(seen) > _NOISE_LIMIT or time.monotonic() > deadline):
                raise ConnectError("the remote's shell prints without end instead of running nssh", "closed")
        self._rest = seen[at + len(self._mark) :]
        self._found = True
