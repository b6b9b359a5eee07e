"""Skip what a login shell prints before the output of the command that it runs."""

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
    """A stream that begins behind the mark: output of start-up files and banners before it is dropped.

    The first `recv` looks for the mark, so that waiting for it costs no round trip.
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
        """The end of what the command wrote to its stderr; empty if the stream does not have it."""
        return str(getattr(self._stream, "stderr", ""))

    def recv(self, size: int, /) -> bytes:
        """Wait for bytes and return what has arrived, at most `size` bytes; empty at the end.

        Raises:
            ConnectError: The shell prints on without the mark, for 64 KiB or 15 s.
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
                return  # the stream ended without the mark: the caller reads its end
            seen += data
            # The limit is for what stands before the mark: a whole backlog may have arrived with it.
            if self._mark not in seen and (len(seen) > _NOISE_LIMIT or time.monotonic() > deadline):
                raise ConnectError("the remote's shell prints without end instead of running nssh", "closed")
        self._rest = seen[at + len(self._mark) :]
        self._found = True
