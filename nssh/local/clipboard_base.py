"""Base classes of the laptop's clipboards: the interface, and the choice among several types of one content."""

from __future__ import annotations

import os
import stat
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote_to_bytes, urlsplit

from nssh.base.errors import ToolError
from nssh.local import clipboard_content, tool_runner
from nssh.local.clipboard_content import ClipboardEmpty, Content, SensitiveError
from nssh.local.image_conversion import FORMATS
from nssh.wire import CONTENT_LIMIT, mimes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MARKED_SECRET = "x-nssh/secret"  # noqa: S105  (a type's name)
"""A name that `_offered` returns if the system marks the content as a password."""

# The type by which password managers mark a password on KDE, GNOME and Wayland; its content is `secret`.
_HINT = "x-kde-passwordManagerHint"
# The types under which file managers offer copied files: lists of URIs, in the first two after another line.
_FILES = ("x-special/gnome-copied-files", "x-special/mate-copied-files", "text/uri-list", "application/x-kde4-urilist")
_CONVERT_TIMEOUT = 30.0


class Clipboard(ABC):
    """A clipboard. Methods block for some seconds at most (`clipboard_content.READ_TIMEOUT`), on any thread.

    Every method raises `ToolError` if the program behind it fails or hangs. The display may be gone then: `detect`
    finds the clipboard that took its place.
    """

    name: ClassVar[str]
    """The name that `nssh doctor` and the event log show."""

    @abstractmethod
    def targets(self) -> list[str]:
        """Return the MIME types of the present content: `text/plain` first, then images, then other text."""

    @abstractmethod
    def fetch(
        self, mime: str, limit: int = CONTENT_LIMIT, progress: Callable[[], None] | None = None
    ) -> tuple[str, Content]:
        """Return the content's type and the content.

        Args:
            mime: The type that is wanted, or one of the two wildcards of `nssh.wire.mimes`. Text is returned as UTF-8.
                An image is converted if there is none of the type.
            limit: The largest content in bytes; more is a ToolError.
            progress: Called now and then during a large transfer, on this thread.

        Raises:
            ClipboardEmpty: There is no content of this type.
            SensitiveError: The content is marked as a password.
        """

    def store(self, mime: str, data: Content) -> None:
        """Replace the content. Where the owner of a clipboard must be a process, one keeps running to serve it.

        Raises:
            ToolError: The program failed or hung, or the type or the size is refused.
        """
        mime = clipboard_content.canonical(mime)
        clipboard_content.check_size(data.size)
        self._replace(mime, data)

    @abstractmethod
    def _replace(self, mime: str, data: Content) -> None:
        """Replace the content by one of a canonical type and an allowed size; raises what `store` raises."""

    def clear(self) -> None:
        """Empty the clipboard, or at least replace its content by an empty text."""
        self.store(clipboard_content.TEXT, Content())

    def read(self, mime: str) -> bytes:
        """Return the content that `fetch` returns, in memory."""
        return self.fetch(mime)[1].read_all()

    def write(self, mime: str, data: bytes) -> None:
        """Replace the content, as `store` does."""
        self.store(mime, Content(data))


class ToolClipboard(Clipboard):
    """A clipboard that is read and written by programs.

    Args:
        environ: The environment of these programs.
        read_timeout: Seconds for a read, even if it runs several programs.
        write_timeout: Seconds for a write.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        read_timeout: float = clipboard_content.READ_TIMEOUT,
        write_timeout: float = clipboard_content.WRITE_TIMEOUT,
    ) -> None:
        self._environ = environ
        self.read_timeout = read_timeout
        self._write_timeout = write_timeout


class OfferingClipboard(Clipboard):
    """A clipboard whose content is offered under several types at the same time."""

    read_timeout = clipboard_content.READ_TIMEOUT

    @abstractmethod
    def _offered(self, deadline: float) -> list[str]:
        """Return the types as their owner names them; none for an empty clipboard."""

    @abstractmethod
    def _get(self, name: str, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        """Return the content of one of these types.

        Raises:
            tools.ToolFailedError, content.ClipboardEmpty: It is not there any more.
        """

    def targets(self) -> list[str]:
        """Return the MIME types of the present content; none for an empty clipboard.

        Raises:
            SensitiveError: The content is marked as a password.
            ToolError: The program failed or hung: the display is gone, or the clipboard's owner does not answer.
        """
        deadline = time.monotonic() + self.read_timeout
        offered = self._offered(deadline)
        self._refuse_secrets(offered, deadline)
        found = clipboard_content.canonical_targets(offered)
        if not any(name.startswith("image/") for name in found):
            copied = self._copied_image(offered, deadline, CONTENT_LIMIT)
            found += [copied[0]] if copied else []
        # Programs ask for PNG first, and any other image can be converted to it.
        if clipboard_content.PNG not in found and any(name in FORMATS for name in found):
            found.append(clipboard_content.PNG)
        return sorted(found, key=lambda name: (name != clipboard_content.TEXT, name != clipboard_content.PNG))

    def fetch(
        self, mime: str, limit: int = CONTENT_LIMIT, progress: Callable[[], None] | None = None
    ) -> tuple[str, Content]:
        """Return the content's type and the content; see `Clipboard.fetch`."""
        found = self._fetch(mime, limit, progress)
        self._refuse_new_secrets()
        return found

    def _refuse_new_secrets(self) -> None:
        """Refuse content that a password manager may have copied after its types were asked for, before it was read.

        A remote that reads again and again would soon hit that moment.
        """
        deadline = time.monotonic() + self.read_timeout
        self._refuse_secrets(self._offered(deadline), deadline)

    def _fetch(self, mime: str, limit: int, progress: Callable[[], None] | None) -> tuple[str, Content]:
        wild = mime in (mimes.ANYTHING, mimes.ANY_IMAGE)
        mime = mime if wild else clipboard_content.canonical(mime)
        deadline = time.monotonic() + self.read_timeout
        offered = self._offered(deadline)
        self._refuse_secrets(offered, deadline)
        found = clipboard_content.canonical_targets(offered)
        images = [name for name in found if name.startswith("image/")]
        wanted = mime
        if mime == mimes.ANYTHING:
            wanted = next(iter(found), mimes.ANY_IMAGE)
        if wanted == mimes.ANY_IMAGE and images:
            wanted = images[0]
        name = "" if wanted == mimes.ANY_IMAGE else clipboard_content.offered_name(wanted, offered)
        if name:
            data = self._get(name, deadline, limit, progress)
            return wanted, clipboard_content.text_of(data, name) if wanted.startswith("text/") else data
        if wanted.startswith("image/"):
            return self._other_image(wanted, images, offered, deadline, limit)
        raise ClipboardEmpty(mime, found)

    def _other_image(
        self, wanted: str, images: list[str], offered: list[str], deadline: float, limit: int
    ) -> tuple[str, Content]:
        """Return an image converted from another type, or the content of a copied image file."""
        usable = [name for name in images if name in FORMATS]
        if usable:
            source = usable[0]
            data = self._get(clipboard_content.offered_name(source, offered), deadline, limit, None)
        else:
            copied = self._copied_image(offered, deadline, limit)
            if copied is None:
                raise ClipboardEmpty(wanted, clipboard_content.canonical_targets(offered))
            source, data = copied
        if wanted in (source, mimes.ANY_IMAGE):
            return source, data
        if wanted not in FORMATS:
            raise ClipboardEmpty(wanted, clipboard_content.canonical_targets(offered))
        return wanted, convert(data, wanted, limit)

    def _refuse_secrets(self, offered: list[str], deadline: float) -> None:
        if MARKED_SECRET in offered:
            raise SensitiveError
        if _HINT in offered and self._get(_HINT, deadline, 1 << 16, None).read_all().strip(b"\0\n ") == b"secret":
            raise SensitiveError

    def _copied_image(self, offered: list[str], deadline: float, limit: int) -> tuple[str, Content] | None:
        """Return type and content of a copied image file; None if there is none."""
        for name in _FILES:
            if name in offered:
                uris = self._get(name, deadline, 1 << 20, None).read_all()
                path = next(filter(None, map(_path_of, uris.replace(b"\r", b"\n").split(b"\n"))), b"")
                return image_file(path, limit) if path else None
        return None


def _path_of(line: bytes) -> bytes:
    """Return the path of a `file:` URI on this machine; empty if it is something else."""
    try:
        parts = urlsplit(line.strip().decode("ascii"))
    except ValueError:
        return b""
    path = unquote_to_bytes(parts.path)
    local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    return path if local and path.startswith(b"/") and b"\0" not in path else b""


def image_file(path: bytes | str, limit: int) -> tuple[str, Content] | None:
    """Return type and content of an image file, by its first bytes; None if it is not an image.

    Raises:
        ToolError: The file is larger than the limit.
    """
    try:
        # O_NONBLOCK: opening a FIFO would block.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        head = file.read(16)
        mime = mimes.image_type(head)
        if not mime:
            return None
        if os.fstat(fd).st_size > limit:
            raise ToolError(f"the copied image is larger than {clipboard_content.describe(limit)}, the limit")
        data = Content(head)
        while piece := file.read(256 << 10):
            data.write(piece)
    return mime, data


def convert(data: Content, mime: str, limit: int) -> Content:
    """Convert an image to another type of `image_conversion.FORMATS`, in a process of its own.

    Raises:
        ToolError: The image can't be read, has too many pixels, or the result is larger than the limit.
    """
    argv = [sys.executable, "-P", "-m", "nssh.local.image_conversion", mime]
    # The process must find this package, even if it is not installed.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environ = {**os.environ, "PYTHONPATH": root}
    result = Content()
    try:
        tool_runner.run(argv, stdin=data, timeout=_CONVERT_TIMEOUT, limit=limit, environ=environ, output=result)
    except tool_runner.ToolFailedError as error:
        # Only the last line: a library may have written warnings before it.
        reason = "".join(error.stderr.strip().splitlines()[-1:])[:200] or "the converter died"
        raise ToolError(f"no {mime} can be made of the image: {reason}") from None
    return result
