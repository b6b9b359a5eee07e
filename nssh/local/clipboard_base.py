"""What every clipboard of the laptop can do, and what those share that offer their content under several types."""

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
"""What an `_offered` may list when the system itself marks the content as a password."""

# KDE's marker, which GNOME's and wl-clipboard's password managers use, too; its content is `secret`.
_HINT = "x-kde-passwordManagerHint"
# How file managers offer copied files; all are lists of URIs, the first two with a line before them.
_FILES = ("x-special/gnome-copied-files", "x-special/mate-copied-files", "text/uri-list", "application/x-kde4-urilist")
_CONVERT_TIMEOUT = 30.0


class Clipboard(ABC):
    """A clipboard; methods block for some seconds at most (`content.READ_TIMEOUT`) and are for any thread.

    Every method raises `ToolError` when the tool behind it fails or hangs. That may mean that the display
    is gone: `detect` again finds the one that took its place.
    """

    name: ClassVar[str]
    """What it is, for `nssh status`."""

    @abstractmethod
    def targets(self) -> list[str]:
        """Return the MIME types that `fetch` takes now: `text/plain` first, then images, then other text."""

    @abstractmethod
    def fetch(
        self, mime: str, limit: int = CONTENT_LIMIT, progress: Callable[[], None] | None = None
    ) -> tuple[str, Content]:
        """Return the content, and its type, which differs from `mime` only for the two wild ones of `nssh.wire.mimes`.

        Args:
            mime: Byte for byte as this, text as UTF-8; an image is converted if there is none of its type.
            limit: Bytes; more is a ToolError.
            progress: Called now and then while a lot is coming.

        Raises:
            ClipboardEmpty: There is nothing of this type.
            SensitiveError: It is marked as a password.
        """

    @abstractmethod
    def store(self, mime: str, data: Content) -> None:
        """Replace the content."""

    def clear(self) -> None:
        """Leave nothing there, or at least no text."""
        self.store(clipboard_content.TEXT, Content())

    def read(self, mime: str) -> bytes:
        """Return what `fetch` does, in memory."""
        return self.fetch(mime)[1].read_all()

    def write(self, mime: str, data: bytes) -> None:
        """Do what `store` does."""
        self.store(mime, Content(data))


class ToolClipboard(Clipboard):
    """One that is reached through programs.

    Args:
        environ: Theirs.
        read_timeout: Seconds that a read may take, whatever it takes.
        write_timeout: Seconds.
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
    """One whose owner offers its content under several names at a time."""

    read_timeout = clipboard_content.READ_TIMEOUT

    @abstractmethod
    def _offered(self, deadline: float) -> list[str]:
        """Return the names as they are; none for an empty clipboard."""

    @abstractmethod
    def _get(self, name: str, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        """Return the content under one of these names.

        Raises:
            tools.ToolFailedError, content.ClipboardEmpty: It is not there any more.
        """

    def targets(self) -> list[str]:
        """Return the types there are; none for an empty clipboard.

        Raises:
            SensitiveError: They are those of a password.
            ToolError: The tool failed or hung: the display is gone, or the owner of the clipboard does not answer.
        """
        deadline = time.monotonic() + self.read_timeout
        offered = self._offered(deadline)
        self._refuse_secrets(offered, deadline)
        found = clipboard_content.canonical_targets(offered)
        if not any(name.startswith("image/") for name in found):
            copied = self._copied_image(offered, deadline, CONTENT_LIMIT)
            found += [copied[0]] if copied else []
        # What programs ask for first, and what any other image can be had as.
        if clipboard_content.PNG not in found and any(name in FORMATS for name in found):
            found.append(clipboard_content.PNG)
        return sorted(found, key=lambda name: (name != clipboard_content.TEXT, name != clipboard_content.PNG))

    def fetch(
        self, mime: str, limit: int = CONTENT_LIMIT, progress: Callable[[], None] | None = None
    ) -> tuple[str, Content]:
        """Return the content, as `Clipboard.fetch` says."""
        found = self._fetch(mime, limit, progress)
        self._refuse_new_secrets()
        return found

    def _refuse_new_secrets(self) -> None:
        """Refuse if what was just read may be what a password manager copied after its types were asked for.

        A remote that asks all the time would hit that moment one time in a few.
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
        """Return an image of another type as the one that is wanted, or a copied file that is one."""
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
        """Return the image that a copied file is, with its type."""
        for name in _FILES:
            if name in offered:
                uris = self._get(name, deadline, 1 << 20, None).read_all()
                path = next(filter(None, map(_path_of, uris.replace(b"\r", b"\n").split(b"\n"))), b"")
                return image_file(path, limit) if path else None
        return None


def _path_of(line: bytes) -> bytes:
    """Return the path that a `file:` URI names on this machine, or nothing."""
    try:
        parts = urlsplit(line.strip().decode("ascii"))
    except ValueError:
        return b""
    path = unquote_to_bytes(parts.path)
    local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    return path if local and path.startswith(b"/") and b"\0" not in path else b""


def image_file(path: bytes | str, limit: int) -> tuple[str, Content] | None:
    """Return the content of a file and its type if it is an image, by how it begins.

    Raises:
        ToolError: It is larger than the limit.
    """
    try:
        # A FIFO or a terminal must not hang us.
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
    """Return an image as another type of `convert.FORMATS`.

    Raises:
        ToolError: It can't be read, has too many pixels, or comes out larger than the limit.
    """
    argv = [sys.executable, "-P", "-m", "nssh.local.image_conversion", mime]
    # The package is found as we found it, installed or not.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environ = {**os.environ, "PYTHONPATH": root}
    result = Content()
    try:
        tool_runner.run(argv, stdin=data, timeout=_CONVERT_TIMEOUT, limit=limit, environ=environ, output=result)
    except tool_runner.ToolFailedError as error:
        # The last line: a library may have written more above it.
        reason = "".join(error.stderr.strip().splitlines()[-1:])[:200] or "the converter died"
        raise ToolError(f"no {mime} can be made of the image: {reason}") from None
    return result
