"""The clipboard of a Wayland compositor, through wl-clipboard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nssh.local import content, tools

if TYPE_CHECKING:
    from collections.abc import Mapping

# What wl-paste 2.0 to 2.2 say when there is nothing to paste; they are not translated.
_EMPTY = ("No selection", "Nothing is copied", "No suitable type", "is not available as requested type")


class WaylandClipboard:
    """Text and images through wl-copy and wl-paste. Methods block for the timeouts at most; for any thread."""

    name = "wl-clipboard"

    def __init__(
        self,
        wl_copy: str,
        wl_paste: str,
        environ: Mapping[str, str],
        *,
        read_timeout: float = content.READ_TIMEOUT,
        write_timeout: float = content.WRITE_TIMEOUT,
    ) -> None:
        self._wl_copy = wl_copy
        self._wl_paste = wl_paste
        self._environ = environ
        self._read_timeout = read_timeout
        self._write_timeout = write_timeout

    def targets(self) -> list[str]:
        """Return the types there are; none for an empty clipboard.

        Raises:
            ToolError: The tool failed or hung: the compositor is gone, or the owner of the clipboard does not answer.
        """
        return content.canonical_targets(self._offered(time.monotonic() + self._read_timeout))

    def read(self, mime: str) -> bytes:
        """Return the clipboard as `mime`.

        Raises:
            ClipboardEmpty: There is nothing of that type.
            ToolError: The tool failed or hung, or there is more than `content.SIZE_LIMIT`.
        """
        mime = content.canonical(mime)
        deadline = time.monotonic() + self._read_timeout
        name = content.offered_name(mime, self._offered(deadline))
        try:
            data = self._paste(["--no-newline", "--type", name], deadline, content.SIZE_LIMIT)
        except _EmptyError:
            raise content.ClipboardEmpty(mime) from None  # another program took the clipboard in between
        return content.text_of(data, name)

    def write(self, mime: str, data: bytes) -> None:
        """Replace the clipboard's content; a wl-copy stays behind to serve it until somebody else replaces it.

        Raises:
            ToolError: The tool failed or hung, or the data or type is refused.
        """
        mime = content.canonical(mime)
        content.check_size(data)
        argv = [self._wl_copy, "--type", mime]  # for text/plain it offers the other names of text, too
        tools.run_writer(argv, stdin=data, timeout=self._write_timeout, environ=self._environ)

    def _offered(self, deadline: float) -> list[str]:
        try:
            return self._paste(["--list-types"], deadline, 1 << 20).decode("utf-8", "replace").splitlines()
        except _EmptyError:
            return []

    def _paste(self, arguments: list[str], deadline: float, limit: int) -> bytes:
        timeout = max(0.0, deadline - time.monotonic())
        try:
            return tools.run([self._wl_paste, *arguments], timeout=timeout, limit=limit, environ=self._environ)
        except tools.ToolFailedError as error:
            if any(reason in error.stderr for reason in _EMPTY):
                raise _EmptyError from None
            raise


class _EmptyError(Exception):
    """Nobody owns the clipboard, or its owner does not have what was asked."""
