"""Send a body from a file, piece by piece, and report that it moves."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = 64 << 10


class Upload:
    """A file with a length, which requests sends piece by piece.

    Args:
        file: Sent from its beginning, in every attempt.
        size: Bytes.
        progress: Called before each piece, on the thread that sends.
    """

    def __init__(self, file: IO[bytes], size: int, progress: Callable[[], None] | None = None) -> None:
        self._file = file
        self._size = size
        self._progress = progress
        file.seek(0)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if self._progress is not None:
            self._progress()
        return self._file.read(size)

    def tell(self) -> int:
        """Return the position, which requests uses to find out how much is left."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position, for another attempt."""
        return self._file.seek(offset, whence)
