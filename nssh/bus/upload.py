"""A body that is sent from a file, piece by piece, and tells that it moves."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = 64 << 10


class Upload:
    """What requests sends as it is: a file with a length.

    Args:
        file: At any position; sent from its beginning, again for every attempt.
        size: Bytes.
        progress: Called, on the thread that sends, whenever another piece goes out.
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
        """Return the next bytes; larger pieces than http.client asks for are not needed."""
        if self._progress is not None:
            self._progress()
        return self._file.read(size)

    def tell(self) -> int:
        """Return the position: requests takes the length from it, and so starts at the beginning."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position, as for another attempt."""
        return self._file.seek(offset, whence)
