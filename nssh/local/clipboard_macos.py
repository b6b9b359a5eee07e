"""The clipboard of macOS: text by pbcopy and pbpaste, the rest by osascript and a private temporary file."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ToolError
from nssh.local import clipboard_content, tool_runner
from nssh.local.clipboard_base import MARKED_SECRET, OfferingClipboard, ToolClipboard
from nssh.local.clipboard_content import ClipboardEmpty, Content
from nssh.wire import CONTENT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The scripts are fixed; the type and the file's path are arguments. They are JavaScript because AppleScript can read
# neither the markers of password managers nor most types.
_TYPES = """\
ObjC.import("AppKit")
function run() { return ObjC.deepUnwrap($.NSPasteboard.generalPasteboard.types).join("\\n") }
"""
_READ = """\
ObjC.import("AppKit")
function run(argv) {
    const data = $.NSPasteboard.generalPasteboard.dataForType(argv[0])
    if (data.isNil()) return "nothing"
    const file = $.NSFileHandle.fileHandleForWritingAtPath(argv[1])
    file.truncateFileAtOffset(0)
    file.writeData(data)
    file.closeFile
    return "done"
}
"""
_WRITE = """\
ObjC.import("AppKit")
function run(argv) {
    const board = $.NSPasteboard.generalPasteboard
    board.clearContents
    return board.setDataForType($.NSData.dataWithContentsOfFile(argv[1]), argv[0]) ? "done" : "refused"
}
"""

# The types by which password managers mark a password (nspasteboard.org).
_SECRET = ("org.nspasteboard.ConcealedType", "com.agilebits.onepassword")
_NAMES = {
    "public.utf8-plain-text": "text/plain",
    "public.png": "image/png",
    "public.jpeg": "image/jpeg",
    "public.tiff": "image/tiff",
    "com.compuserve.gif": "image/gif",
    "com.microsoft.bmp": "image/bmp",
    "org.webmproject.webp": "image/webp",
    "public.html": "text/html",
    "public.rtf": "text/rtf",
    "public.file-url": "text/uri-list",
    "public.url": "text/uri-list",
}


class MacClipboard(ToolClipboard, OfferingClipboard):
    """Text, images and HTML. Methods block for the timeouts at most; for any thread."""

    name = "macos"

    def __init__(
        self, pbcopy: str, pbpaste: str, osascript: str | None, environ: Mapping[str, str], **timeouts: float
    ) -> None:
        # pbcopy and pbpaste use the locale's encoding, and a process that launchd started has no locale.
        super().__init__({**environ, "LC_ALL": "en_US.UTF-8"}, **timeouts)
        self._pbcopy = pbcopy
        self._pbpaste = pbpaste
        self._osascript = osascript

    def _replace(self, mime: str, data: Content) -> None:
        if mime == clipboard_content.TEXT:
            tool_runner.run_writer([self._pbcopy], stdin=data, timeout=self._write_timeout, environ=self._environ)
            return
        with _private_file() as file:
            for piece in data.chunks():
                file.write(piece)
            file.flush()
            said = self._script(_WRITE, [_type_of(mime), file.name], self._write_timeout)
        if said != "done":
            raise ToolError(f"macOS takes no {mime} on its clipboard")

    def _offered(self, deadline: float) -> list[str]:
        if self._osascript is None:
            return [clipboard_content.TEXT] if self._text(deadline, CONTENT_LIMIT, None).size else []
        types = self._script(_TYPES, [], _left(deadline)).split("\n")
        names = [_NAMES[name] for name in types if name in _NAMES]
        return [MARKED_SECRET, *names] if any(name in _SECRET for name in types) else names

    def _get(self, name: str, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        if name == clipboard_content.TEXT:
            return self._text(deadline, limit, progress)
        data = Content()
        with _private_file() as file:
            for kind in (kind for kind, mime in _NAMES.items() if mime == name):
                if self._script(_READ, [kind, file.name], _left(deadline)) != "done":
                    continue
                if os.fstat(file.fileno()).st_size > limit:
                    most = clipboard_content.describe(limit)
                    raise ToolError(f"what is on the clipboard is larger than {most}, the limit")
                while piece := file.read(256 << 10):
                    data.write(piece)
                return data
        raise ClipboardEmpty(name)

    def _text(self, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        data = Content()
        tool_runner.run(
            [self._pbpaste, "-Prefer", "txt"],
            timeout=_left(deadline), limit=limit, environ=self._environ, output=data, progress=progress,
        )  # fmt: skip
        return data

    def _script(self, script: str, arguments: list[str], timeout: float) -> str:
        if self._osascript is None:
            raise ToolError("images on the clipboard need osascript, which is not on the PATH")
        argv = [self._osascript, "-l", "JavaScript", "-", *arguments]
        said = tool_runner.run(argv, stdin=script.encode(), timeout=timeout, limit=1 << 20, environ=self._environ)
        return said.decode("utf-8", "replace").strip()


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _type_of(mime: str) -> str:
    found = [kind for kind, name in _NAMES.items() if name == mime and kind != "public.file-url"]
    if not found:
        raise ToolError(f"the clipboard of macOS is not bridged for {mime}")
    return found[0]


def _private_file() -> tempfile._TemporaryFileWrapper[bytes]:
    """Create a temporary file (0600) that is removed when it is closed."""
    return tempfile.NamedTemporaryFile(prefix="nssh-")
