"""Shows a notification on the user's desktop, if there is one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from nssh.base.errors import ToolError
from nssh.base.printable import printable
from nssh.local import tool_runner

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT = 5.0
_LONGEST = 200
# The notification's texts are arguments of the script, never a part of it.
_APPLESCRIPT = (
    "on run arguments",
    "display notification (item 2 of arguments) with title (item 1 of arguments)",
    "end run",
)
# Notification servers interpret some HTML in the text.
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def command(title: str, text: str, environ: Mapping[str, str], platform: str = sys.platform) -> list[str]:
    """Return the command that shows a notification; empty if there is no desktop, or no program for it."""
    title, text = printable(title, _LONGEST), printable(text, _LONGEST)
    if platform == "darwin":
        path = tool_runner.find_tool("osascript", environ)
        lines = [word for line in _APPLESCRIPT for word in ("-e", line)]
        return [path, *lines, "--", title, text] if path else []
    if not any(environ.get(name) for name in ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY")):
        return []
    path = tool_runner.find_tool("notify-send", environ)
    return [path, "--app-name=nssh", "--", title, text.translate(_MARKUP)] if path else []


def notify(title: str, text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Show a notification; return whether a program accepted it. Blocks for five seconds at most; never raises."""
    argv = command(title, text, environ)
    if not argv:
        return False
    try:
        tool_runner.run(argv, timeout=_TIMEOUT, environ=environ)
    except (ToolError, OSError):
        return False
    return True
