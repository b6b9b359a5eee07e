"""The clipboard of a Wayland compositor, by wl-copy and wl-paste."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nssh.local import tool_runner
from nssh.local.clipboard_base import OfferingClipboard, ToolClipboard
from nssh.local.clipboard_content import ClipboardEmpty, Content

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Messages of wl-paste 2.0 to 2.2 about an empty clipboard. They are not translated.
_EMPTY = ("No selection", "Nothing is copied", "No suitable type", "is not available as requested type")


class WaylandClipboard(ToolClipboard, OfferingClipboard):
    """Text and images on Wayland. Methods block for the timeouts at most; for any thread."""

    name = "wl-clipboard"

    def __init__(self, wl_copy: str, wl_paste: str, environ: Mapping[str, str], **timeouts: float) -> None:
        super().__init__(environ, **timeouts)
        self._wl_copy = wl_copy
        self._wl_paste = wl_paste

    def _replace(self, mime: str, data: Content) -> None:
        argv = [self._wl_copy, "--type", mime]  # for text/plain it offers the other names of text, too
        tool_runner.run_writer(argv, stdin=data, timeout=self._write_timeout, environ=self._environ)

    def clear(self) -> None:
        """Empty the clipboard. Raises what `store` raises."""
        tool_runner.run([self._wl_copy, "--clear"], timeout=self._write_timeout, environ=self._environ)

    def _offered(self, deadline: float) -> list[str]:
        try:
            names = self._paste(["--list-types"], deadline, 1 << 20, None)
        except ClipboardEmpty:
            return []
        return names.read_all().decode("utf-8", "replace").splitlines()

    def _get(self, name: str, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        return self._paste(["--no-newline", "--type", name], deadline, limit, progress)

    def _paste(self, arguments: list[str], deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        timeout = max(0.0, deadline - time.monotonic())
        data = Content()
        try:
            tool_runner.run(
                [self._wl_paste, *arguments],
                timeout=timeout, limit=limit, environ=self._environ, output=data, progress=progress,
            )  # fmt: skip
        except tool_runner.ToolFailedError as error:
            # The clipboard has no owner, or another program took it since its types were asked for.
            if any(reason in error.stderr for reason in _EMPTY):
                raise ClipboardEmpty(arguments[-1]) from None
            raise
        return data
