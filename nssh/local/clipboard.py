"""Finds the clipboard that this machine has; a clipboard in memory is for machines without one."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from nssh.local import clipboard_content
from nssh.local.clipboard_base import Clipboard, OfferingClipboard
from nssh.local.clipboard_commands import CommandClipboard
from nssh.local.clipboard_content import ClipboardEmpty, Content
from nssh.local.clipboard_macos import MacClipboard
from nssh.local.clipboard_wayland import WaylandClipboard
from nssh.local.clipboard_wsl import WslClipboard
from nssh.local.clipboard_x11 import XclipClipboard, XselClipboard
from nssh.local.tool_runner import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nssh.config.settings import ClipboardConfig

__all__ = ["Clipboard", "ClipboardEmpty", "MemoryClipboard", "detect"]


class MemoryClipboard(OfferingClipboard):
    """A clipboard in memory, for a machine without a desktop. It lasts as long as the process."""

    name = "memory"

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        """Why there is no real clipboard; one line."""
        self._lock = threading.Lock()
        self._content: tuple[str, Content] | None = None

    def _offered(self, deadline: float) -> list[str]:
        del deadline  # memory needs no time
        with self._lock:
            return [] if self._content is None else [self._content[0]]

    def _get(self, name: str, deadline: float, limit: int, progress: Callable[[], None] | None) -> Content:
        del deadline, progress
        with self._lock:
            if self._content is None or self._content[0] != name:
                raise ClipboardEmpty(name)
            kept = self._content[1]
            clipboard_content.check_size(kept.size, limit)
            data = Content()
            for piece in kept.chunks():
                data.write(piece)
            return data

    def _replace(self, mime: str, data: Content) -> None:
        with self._lock:
            self._content = (mime, data)

    def clear(self) -> None:
        """Empty the clipboard."""
        with self._lock:
            self._content = None


def detect(
    environ: Mapping[str, str] = os.environ,
    which: Callable[[str, Mapping[str, str]], str | None] = find_tool,
    platform: str = sys.platform,
    config: ClipboardConfig | None = None,
) -> Clipboard:
    """Return the best clipboard that this machine has. Looks at files only, starts no program, never raises.

    Args:
        environ: Where WSL_DISTRO_NAME, WAYLAND_DISPLAY, DISPLAY and PATH are looked up; programs run with it.
        which: Finds a program on the PATH that is not one of nssh's own shims.
        platform: As `sys.platform`.
        config: The user's commands, which take precedence.
    """
    found = _detect(environ, which, platform)
    if config is None or not (config.copy or config.paste):
        return found
    return CommandClipboard(config.copy, config.paste, found, environ)


def _detect(
    environ: Mapping[str, str], which: Callable[[str, Mapping[str, str]], str | None], platform: str
) -> Clipboard:
    lacking = []
    if platform == "darwin":
        pbcopy, pbpaste = which("pbcopy", environ), which("pbpaste", environ)
        if pbcopy and pbpaste:
            return MacClipboard(pbcopy, pbpaste, which("osascript", environ), environ)
        return MemoryClipboard("pbcopy or pbpaste is not on the PATH")
    if environ.get("WSL_DISTRO_NAME"):
        # Before the displays of WSLg, which only carry text and bitmaps, and only while they run.
        clip, powershell = which("clip.exe", environ), which("powershell.exe", environ)
        if clip and powershell:
            return WslClipboard(clip, powershell, environ)
        lacking.append("this is WSL, but clip.exe and powershell.exe are not on the PATH")
    if environ.get("WAYLAND_DISPLAY"):
        wl_copy, wl_paste = which("wl-copy", environ), which("wl-paste", environ)
        if wl_copy and wl_paste:
            return WaylandClipboard(wl_copy, wl_paste, environ)
        lacking.append("WAYLAND_DISPLAY is set, but wl-clipboard is not installed")
    if environ.get("DISPLAY"):
        xclip, xsel = which("xclip", environ), which("xsel", environ)
        if xclip or xsel:
            return XclipClipboard(xclip, environ) if xclip else XselClipboard(xsel or "", environ)
        lacking.append("DISPLAY is set, but neither xclip nor xsel is installed")
    return MemoryClipboard("; ".join(lacking) or "neither WAYLAND_DISPLAY nor DISPLAY is set")
