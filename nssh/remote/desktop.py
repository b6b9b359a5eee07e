"""Detect a desktop, where shims in place of `xclip` and `xdg-open` would do harm."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys

from nssh.remote import stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_X_SOCKETS = "/tmp/.X11-unix"  # noqa: S108 (where X puts them)

# X servers with a screen. Not Xvfb and Xvnc, which tests and agents use, nor Xwayland, which logind tells.
_SCREEN_SERVERS = ("Xorg", "Xorg.bin", "X")


def reason(environ: Mapping[str, str] = os.environ, platform: str = sys.platform, sockets: str = _X_SOCKETS) -> str:
    """Return the reason why this machine looks like a desktop of the calling user; empty if it does not.

    It takes 3 s at most, two timeouts of loginctl.
    """
    if platform == "darwin":
        return "it is a Mac"
    if environ.get("WAYLAND_DISPLAY"):
        return "WAYLAND_DISPLAY is set"
    display = environ.get("DISPLAY", "")
    # sshd's X forwarding uses displays from 10 on, with a host name before the colon; a local display has none.
    if display and (display.startswith(":") or not re.search(r":\d{2,}(\.\d+)?$", display)):
        return "DISPLAY is " + display if len(display) < 40 else "DISPLAY is set"
    server = _x_server(sockets)
    if server:
        return server
    session = _graphical_session()
    return "loginctl shows a running %s session" % session if session else ""


def _x_server(directory: str) -> str:
    """Return the reason if an X server of this user with a screen runs; otherwise empty."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return ""
    for name in names:
        path = os.path.join(directory, name)
        try:
            info = os.lstat(path)
        except OSError:
            continue
        if not stat.S_ISSOCK(info.st_mode) or info.st_uid != os.geteuid() or not name.startswith("X"):
            continue
        if _listener(path) in _SCREEN_SERVERS:
            return "an X server of yours runs (display :%s)" % name[1:]
    return ""


def _listener(path: str) -> str:
    """Return the name of this user's program that listens at a socket; empty if the system does not tell."""
    try:
        with open("/proc/%d/comm" % stop.listener_pid(path), encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:
        return ""


def _loginctl(*args: str) -> str:
    try:
        done = subprocess.run(
            ["loginctl", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=1.5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _graphical_session() -> str:
    """Return the type (x11, wayland, mir) of the user's graphical session that logind knows; otherwise empty."""
    session = _loginctl("show-user", str(os.geteuid()), "--property=Display", "--value")
    if not session:
        return ""
    kind = _loginctl("show-session", session.splitlines()[0], "--property=Type", "--value")
    return kind if kind in ("x11", "wayland", "mir") else ""
