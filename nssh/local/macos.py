"""The clipboard of macOS: text through pbcopy and pbpaste, PNG through AppleScript and a private temporary file."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from nssh.errors import ToolError
from nssh.local import content, tools

if TYPE_CHECKING:
    from collections.abc import Mapping

# Fixed texts; the one thing that varies, the file's path, is an argument. «class PNGf» is AppleScript for PNG data.
_READ_PNG = """\
on run argv
    set theFile to open for access (POSIX file (item 1 of argv)) with write permission
    try
        set eof theFile to 0
        write (the clipboard as «class PNGf») to theFile
    on error message number code
        close access theFile
        error message number code
    end try
    close access theFile
end run
"""
_WRITE_PNG = """\
on run argv
    set the clipboard to (read (POSIX file (item 1 of argv)) as «class PNGf»)
end run
"""
_NO_SUCH_TYPE = "-1700"  # errAECoercionFail: the clipboard can't be had as that class


class MacClipboard:
    """Text and PNG. Methods block for the timeouts at most; for any thread."""

    name = "macos"

    def __init__(
        self,
        pbcopy: str,
        pbpaste: str,
        osascript: str | None,
        environ: Mapping[str, str],
        *,
        read_timeout: float = content.READ_TIMEOUT,
        write_timeout: float = content.WRITE_TIMEOUT,
    ) -> None:
        self._pbcopy = pbcopy
        self._pbpaste = pbpaste
        self._osascript = osascript
        # pbcopy and pbpaste take the encoding of the locale; what launchd starts has none.
        self._environ = {**environ, "LC_ALL": "en_US.UTF-8"}
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout

    def targets(self) -> list[str]:
        """Return which of text and PNG there are.

        Raises:
            ToolError: The tool failed or hung.
        """
        deadline = time.monotonic() + self._read_timeout
        if self._osascript is None:
            return [content.TEXT] if self._text(deadline) else []
        info = self._script(["-e", "clipboard info"], deadline).decode("utf-8", "replace")
        text = any(name in info for name in ("«class utf8»", "Unicode text", "string"))
        return ([content.TEXT] if text else []) + ([content.PNG] if "«class PNGf»" in info else [])

    def read(self, mime: str) -> bytes:
        """Return the clipboard as `mime`; pbpaste can't tell empty text from none, and both count as none.

        Raises:
            ClipboardEmpty: There is nothing of that type.
            ToolError: The tool failed or hung, there is more than `content.SIZE_LIMIT`, or `mime` is neither.
        """
        mime = content.canonical(mime)
        deadline = time.monotonic() + self._read_timeout
        data = self._text(deadline) if mime == content.TEXT else self._png(mime, deadline)
        if not data:
            raise content.ClipboardEmpty(mime)
        return data

    def write(self, mime: str, data: bytes) -> None:
        """Replace the clipboard's content.

        Raises:
            ToolError: The tool failed or hung, or the data or type is refused.
        """
        mime = content.canonical(mime)
        content.check_size(data)
        if mime == content.TEXT:
            tools.run_writer([self._pbcopy], stdin=data, timeout=self._write_timeout, environ=self._environ)
            return
        self._refuse_all_but_png(mime)
        with _private_file() as file:
            file.write(data)
            file.flush()
            self._script(["-", file.name], time.monotonic() + self._write_timeout, _WRITE_PNG)

    def _text(self, deadline: float) -> bytes:
        timeout = max(0.0, deadline - time.monotonic())
        argv = [self._pbpaste, "-Prefer", "txt"]
        return tools.run(argv, timeout=timeout, limit=content.SIZE_LIMIT, environ=self._environ)

    def _png(self, mime: str, deadline: float) -> bytes:
        self._refuse_all_but_png(mime)
        with _private_file() as file:
            try:
                self._script(["-", file.name], deadline, _READ_PNG)
            except tools.ToolFailedError as error:
                if _NO_SUCH_TYPE in error.stderr:
                    raise content.ClipboardEmpty(mime) from None
                raise
            if os.fstat(file.fileno()).st_size > content.SIZE_LIMIT:
                raise ToolError(f"the image on the clipboard is larger than {content.SIZE_LIMIT >> 20} MiB, the limit")
            return file.read()

    def _script(self, arguments: list[str], deadline: float, script: str = "") -> bytes:
        if self._osascript is None:
            raise ToolError("images on the clipboard need osascript, which is not on the PATH")
        timeout = max(0.0, deadline - time.monotonic())
        argv = [self._osascript, *arguments]
        return tools.run(argv, stdin=script.encode(), timeout=timeout, limit=1 << 20, environ=self._environ)

    def _refuse_all_but_png(self, mime: str) -> None:
        if mime != content.PNG:
            raise ToolError(f"the clipboard of macOS is bridged for text and PNG, not {mime}")


def _private_file() -> tempfile._TemporaryFileWrapper[bytes]:
    """Make a 0600 file (tempfile's mode) that is gone when closed."""
    return tempfile.NamedTemporaryFile(prefix="nssh-", suffix=".png")
