"""Content of the clipboard: its types, its limits of size and time, and a container for any size."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING, cast

from nssh.base.errors import ToolError
from nssh.wire import CONTENT_LIMIT, mimes
from nssh.wire.mimes import PNG, TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PNG", "TEXT", "ClipboardEmpty", "Content", "SensitiveError", "canonical", "check_size", "text_of"]

READ_TIMEOUT = 4.0
WRITE_TIMEOUT = 10.0
"""Seconds without progress in a read or write, even if it runs several programs."""

# Names of text on X11 and Wayland. All are UTF-8, but for STRING, which is Latin-1 (ICCCM, 2.7.1).
TEXT_NAMES = ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain;charset=UTF-8", TEXT, "STRING", "TEXT")

_IN_MEMORY = 1 << 20
_CHUNK = 256 << 10


class ClipboardEmpty(ToolError):  # noqa: N818  a state, hardly an error
    """The clipboard has no content of the type that was asked for.

    Attributes:
        others: The types that it has.
    """

    def __init__(self, mime: str, others: list[str] | None = None) -> None:
        super().__init__(f"nothing of type {mime} is on the clipboard")
        self.others = others or []


class SensitiveError(ToolError):
    """A password manager has marked the clipboard's content as secret, so it is not sent."""

    def __init__(self) -> None:
        super().__init__("the clipboard holds what a password manager marked as secret; it is not sent")


class Content:
    """Bytes of any size: up to 1 MiB in memory, more in a file (0600) without a name. For one thread at a time."""

    def __init__(self, data: bytes = b"") -> None:
        # The file is closed with its last reference, and having no name it can't be left behind.
        self._file = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115
        self.size = 0
        if data:
            self.write(data)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            ToolError: The disk is full.
        """
        try:
            self._file.seek(0, 2)
            self._file.write(data)
        except OSError as error:
            raise ToolError(
                f"no room for the clipboard's content in {tempfile.gettempdir()}: {error.strerror}"
            ) from None
        self.size += len(data)

    def truncate(self) -> None:
        """Remove all bytes."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0

    def open(self) -> IO[bytes]:
        """Return the content as a file, positioned at its beginning. All readers share the position."""
        self._file.seek(0)
        return self._file

    def head(self, count: int) -> bytes:
        """Return the first bytes."""
        return self.open().read(count)

    def read_all(self) -> bytes:
        """Return all bytes."""
        return self.open().read()

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes in pieces of 256 KiB."""
        file = self.open()
        while piece := file.read(_CHUNK):
            yield piece


def canonical(mime: str) -> str:
    """Return the canonical name of a type, see `nssh.wire.mimes`.

    Raises:
        ToolError: The clipboard bridge does not carry this type.
    """
    name = mimes.canonical(mime)
    if not name:
        raise ToolError(f"the clipboard bridge takes text and images, not {mime[:80]!r}")
    return name


def canonical_targets(offered: list[str]) -> list[str]:
    """Return the canonical types among those that a clipboard's owner offers: text first, then PNG, then others."""
    names = (name for name in offered if "/" in name or name in TEXT_NAMES)
    found = dict.fromkeys(filter(None, map(mimes.canonical, names)))
    return sorted(found, key=lambda name: (name != TEXT, name != PNG))


def offered_name(mime: str, offered: list[str]) -> str:
    """Return the name under which the owner offers a canonical type; empty if it does not."""
    if mime == TEXT:
        names = [name for name in TEXT_NAMES if name in offered]
    else:
        names = [name for name in offered if mimes.base(name) == mime]
    return names[0] if names else ""


def check_size(size: int, limit: int = CONTENT_LIMIT) -> None:
    """Refuse a size beyond the limit, both in bytes.

    Raises:
        ToolError: The size is larger.
    """
    if size > limit:
        raise ToolError(f"{size} bytes are too much for the clipboard; the limit is {describe(limit)}")


def describe(size: int) -> str:
    """Format a size: `64 MiB`, `512 KiB`, `1000 bytes`."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size and not size % factor:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


def text_of(content: Content, name: str) -> Content:
    """Return text as UTF-8. STRING may be Latin-1, and Firefox offers HTML in UTF-16."""
    if mimes.base(name) == mimes.HTML and content.head(2) in (b"\xff\xfe", b"\xfe\xff") and content.size % 2 == 0:
        return Content(content.read_all().decode("utf-16", "replace").encode())
    if name != "STRING":
        return content
    data = content.read_all()
    try:
        data.decode()
    except UnicodeDecodeError:
        return Content(data.decode("latin-1").encode())
    return content


def check_uris(content: Content) -> None:
    """Refuse a list of URIs with files in it.

    If the user pasted it, files of this machine that the remote chose would be copied; if the remote read an image
    back, such a file would be sent.

    Raises:
        ToolError: The list names a file, or is larger than 1 MiB.
    """
    if content.size > _IN_MEMORY:
        raise ToolError("a list of URIs of more than 1 MiB is not put on the clipboard")
    lines = content.read_all().replace(b"\r", b"\n").split(b"\n")
    schemes = {line.strip().partition(b":")[0].lower() for line in lines if line.strip() and not line.startswith(b"#")}
    if schemes - {b"http", b"https", b"mailto", b"ftp"}:
        raise ToolError(
            "a list of files of the remote is not put on the clipboard: it would mean files of this machine"
        )
