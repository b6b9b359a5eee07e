"""A clipboard that the user's own commands read and write: `[clipboard] copy` and `paste`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.base.errors import ToolError
from nssh.local import clipboard_content, tool_runner
from nssh.local.clipboard_base import ToolClipboard
from nssh.local.clipboard_content import ClipboardEmpty, Content
from nssh.wire import CONTENT_LIMIT, mimes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nssh.local.clipboard_base import Clipboard

TYPE_VARIABLE = "NSSH_CLIPBOARD_TYPE"
"""The variable that tells the copy command the type of its stdin, and the paste command the type that is wanted."""


class CommandClipboard(ToolClipboard):
    """One command that takes the content on stdin, and one that prints it. A remote's text is never an argument.

    If only one of them is set, `other` does the rest. Methods block for the timeouts at most; for any thread.
    """

    name = "command"

    def __init__(
        self,
        copy: tuple[str, ...],
        paste: tuple[str, ...],
        other: Clipboard,
        environ: Mapping[str, str],
        **timeouts: float,
    ) -> None:
        super().__init__(environ, **timeouts)
        self._copy = copy
        self._paste = paste
        self._other = other

    def targets(self) -> list[str]:
        """Return the type of what the paste command prints, by its first bytes; none if it prints nothing."""
        if not self._paste:
            return self._other.targets()
        try:
            return [self.fetch(mimes.ANYTHING)[0]]
        except ClipboardEmpty:
            return []

    def fetch(
        self, mime: str, limit: int = CONTENT_LIMIT, progress: Callable[[], None] | None = None
    ) -> tuple[str, Content]:
        """Return the type and content of what the paste command prints; see `Clipboard.fetch`."""
        if not self._paste:
            return self._other.fetch(mime, limit, progress)
        wild = mime in (mimes.ANYTHING, mimes.ANY_IMAGE)
        wanted = mime if wild else clipboard_content.canonical(mime)
        data = Content()
        tool_runner.run(
            [_program(self._paste[0], self._environ), *self._paste[1:]],
            timeout=self.read_timeout, limit=limit, output=data, progress=progress,
            environ={**self._environ, TYPE_VARIABLE: "" if wild else wanted},
        )  # fmt: skip
        image = mimes.image_type(data.head(16))
        # Text has the type that was asked for, such as HTML, unless it begins like an image.
        got = image or (clipboard_content.TEXT if wild or wanted.startswith("image/") else wanted)
        fits = mime == mimes.ANYTHING or got == wanted or (mime == mimes.ANY_IMAGE and bool(image))
        if not data.size or not fits:
            raise ClipboardEmpty(wanted, [got] if data.size else [])
        return got, data

    def _replace(self, mime: str, data: Content) -> None:
        if not self._copy:
            self._other.store(mime, data)
            return
        argv = [_program(self._copy[0], self._environ), *self._copy[1:]]
        environ = {**self._environ, TYPE_VARIABLE: mime}
        tool_runner.run_writer(argv, stdin=data, timeout=self._write_timeout, environ=environ)


def _program(name: str, environ: Mapping[str, str]) -> str:
    path = tool_runner.find_tool(name, environ)
    if path is None:
        raise ToolError(f"the clipboard's command {name} is not on the PATH: see [clipboard] in config.toml")
    return path
