"""`nssh --version` on a remote, also for the Go program of the same name, which runs it at each connect."""

from __future__ import annotations

import os

from nssh import __version__
from nssh.wire.files import state_dir
from nssh.wire.quickjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

GO_RELEASE = "v2.5.1"
"""The release of the Go program that this remote side was tried with."""

# The command line of the shell in which the Go program looks for nssh.
_GO_SHELL = b"bash\0-l\0-s\0"
_TAIL = 64 * 1024


def text(parent: int, environ: Mapping[str, str] = os.environ) -> str:
    """Return what to print; `parent` is the process that asks.

    A Go laptop reads the second word of the first line. It takes any other release than its own for an old one, and
    offers to install itself over our shims. It can work with them; so it is told its own release.
    """
    own = "nssh %s\n" % __version__
    if _command(parent) != _GO_SHELL:
        return own
    return "nssh %s\n  as far as the Go program is concerned; this is %s" % (_announced(environ) or GO_RELEASE, own)


def _command(pid: int) -> bytes:
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read(1024)
    except OSError:
        return b""  # not Linux, or hidden


def _announced(environ: Mapping[str, str]) -> str:
    """Return the release that the last Go laptop has noted here, in its log; empty if there was none."""
    directory = state_dir(environ)
    try:
        paths = [os.path.join(directory, name) for name in os.listdir(directory)]
        logs = [path for path in paths if os.path.basename(path).startswith("nssh.") and path.endswith(".jsonl")]
        with open(max(logs, key=os.path.getmtime), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().split(b"\n")
    except (OSError, ValueError):
        return ""
    for line in reversed(lines):
        if b'"session-open"' in line:
            release = _release(line)
            if release:
                return release
    return ""


def _release(line: bytes) -> str:
    """Return the release that a line of that log names, such as `v2.5.1`; empty if it names none."""
    try:
        found = loads(line.decode("utf-8", "replace"))["version"]
    except (ValueError, LookupError, TypeError):
        return ""
    if not isinstance(found, str) or not found.startswith("v") or len(found) > 40:
        return ""
    parts = found[1:].split(".")
    return found if len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts) else ""
