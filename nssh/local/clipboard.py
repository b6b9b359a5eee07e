"""The laptop's clipboard: what every backend can do, the one in memory, and which of them a machine gets."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from nssh.local import content
from nssh.local.content import ClipboardEmpty
from nssh.local.macos import MacClipboard
from nssh.local.tools import find_tool
from nssh.local.wayland import WaylandClipboard
from nssh.local.x11 import XclipClipboard, XselClipboard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Clipboard", "ClipboardEmpty", "MemoryClipboard", "detect"]


class Clipboard(Protocol):
    """A clipboard; methods block for some seconds at most (`content.READ_TIMEOUT`) and are for any thread.

    Every method raises `nssh.errors.ToolError` when the tool behind it fails or hangs. That may mean that the display
    is gone: `detect` again finds the one that took its place.
    """

    name: str
    """What it is, for `nssh status`: `xclip`, `xsel`, `wl-clipboard`, `macos` or `memory`."""

    def targets(self) -> list[str]:
        """Return the MIME types that `read` takes now: `text/plain` first, then images, then other text."""
        ...

    def read(self, mime: str) -> bytes:
        """Return the content as `mime`, byte for byte, text as UTF-8; raises `ClipboardEmpty` if there is none."""
        ...

    def write(self, mime: str, data: bytes) -> None:
        """Replace the content."""
        ...


class MemoryClipboard:
    """A clipboard for a machine without one: it lasts as long as the process, and every session of it shares it."""

    name = "memory"

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        """Why there is no better one, and what to do about it; one line."""
        self._lock = threading.Lock()
        self._content: tuple[str, bytes] | None = None

    def targets(self) -> list[str]:
        """Return the type of the last write."""
        with self._lock:
            return [] if self._content is None else [self._content[0]]

    def read(self, mime: str) -> bytes:
        """Return the last write if it was of that type, else raise `ClipboardEmpty`."""
        mime = content.canonical(mime)
        with self._lock:
            if self._content is None or self._content[0] != mime:
                raise ClipboardEmpty(mime)
            return self._content[1]

    def write(self, mime: str, data: bytes) -> None:
        """Keep `data` instead of what there was."""
        mime = content.canonical(mime)
        content.check_size(data)
        with self._lock:
            self._content = (mime, data)


def detect(
    environ: Mapping[str, str] = os.environ,
    which: Callable[[str, Mapping[str, str]], str | None] = find_tool,
    platform: str = sys.platform,
) -> Clipboard:
    """Return the best clipboard that this machine has; looks at files only, starts nothing, never fails.

    Args:
        environ: Where WAYLAND_DISPLAY, DISPLAY and PATH are looked up; the tools are run with it.
        which: Finds a tool that is not one of nssh's own shims.
        platform: As `sys.platform`.
    """
    if platform == "darwin":
        pbcopy, pbpaste = which("pbcopy", environ), which("pbpaste", environ)
        if pbcopy and pbpaste:
            return MacClipboard(pbcopy, pbpaste, which("osascript", environ), environ)
        return MemoryClipboard("pbcopy or pbpaste is not on the PATH")
    lacking = []
    if environ.get("WAYLAND_DISPLAY"):
        wl_copy, wl_paste = which("wl-copy", environ), which("wl-paste", environ)
        if wl_copy and wl_paste:
            return WaylandClipboard(wl_copy, wl_paste, environ)
        lacking.append("WAYLAND_DISPLAY is set, but wl-clipboard is not installed")
    if environ.get("DISPLAY"):
        xclip = which("xclip", environ)
        if xclip:
            return XclipClipboard(xclip, environ)
        xsel = which("xsel", environ)
        if xsel:
            return XselClipboard(xsel, environ)
        lacking.append("DISPLAY is set, but neither xclip nor xsel is installed")
    return MemoryClipboard("; ".join(lacking) or "neither WAYLAND_DISPLAY nor DISPLAY is set")
