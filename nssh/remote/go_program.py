"""Recognise the Go program that is called nssh, too, and its shims.

Its `nssh infect` puts the binary into ~/.local/bin, or leaves it where a package has put it, and makes links to it that
are called xclip, wl-paste and so on. The binary is recognised by what the Go linker has written into it about its
source. Nothing is started to find out; only a binary that was recognised is asked for its version.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import time

PERSONAS = ("xdg-open", "sensible-browser", "xclip", "wl-copy", "wl-paste")
"""The names of its links."""

NAME = "nssh"
"""The name of its binary."""

_MODULE = b"\nmod\tgithub.com/abizer/nssh"
_ELF = b"\x7fELF"

# It has 8 MB.
_LARGEST = 64 << 20
_PIECE = 1 << 20

_PATIENCE = 2.0  # seconds
_ANSWER = 2048  # bytes


def is_binary(path: str) -> bool:
    """Return whether `path`, with links followed, is the Go program; False if it can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _LARGEST or os.read(fd, len(_ELF)) != _ELF:
            return False
        end = b""
        while True:
            piece = os.read(fd, _PIECE)
            if _MODULE in end + piece:
                return True
            if not piece:
                return False
            end = piece[-len(_MODULE) :]
    except OSError:
        return False
    finally:
        os.close(fd)


def is_shim(path: str, kept: str = "") -> bool:
    """Return whether `path` is a link to the Go program.

    Args:
        path: Where the link is.
        kept: A suffix under which the binary may have been kept, when it was replaced.
    """
    try:
        target = os.readlink(path)
    except OSError:
        return False
    if is_binary(path):
        return True
    target = os.path.join(os.path.dirname(path), target)
    return bool(kept) and os.path.basename(target) == NAME and is_binary(target + kept)


def version(path: str) -> str:
    """Return the version that the Go program tells, as `v2.5.1`; empty if `path` is not it, or tells none."""
    path = os.path.realpath(path)
    if not is_binary(path):
        return ""
    words = _ask(path).decode("utf-8", "replace").partition("\n")[0].split()
    return words[1] if len(words) == 2 and words[0] == NAME and words[1].isprintable() and len(words[1]) < 60 else ""


def _ask(path: str) -> bytes:
    """Return the beginning of what `nssh --version` prints. It takes 2 s at most."""
    try:
        # The name decides what it does. A session of its own can be killed with all its children.
        asked = subprocess.Popen(
            [NAME, "--version"], executable=path, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return b""
    assert asked.stdout is not None  # noqa: S101 (for the type checker: it is a pipe)
    said = b""
    end = time.monotonic() + _PATIENCE
    try:
        while len(said) < _ANSWER and select.select([asked.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            piece = os.read(asked.stdout.fileno(), _ANSWER)
            if not piece:
                break
            said += piece
    finally:
        asked.stdout.close()
        try:
            os.killpg(asked.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            asked.kill()
        asked.wait()
    return said
