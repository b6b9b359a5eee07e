"""The small files that answer to `xclip`, `xdg-open` and so on: how they look, and how they are recognised."""

from __future__ import annotations

import os

PERSONAS = (
    "xclip", "xsel", "wl-copy", "wl-paste", "xdg-open", "sensible-browser", "x-www-browser", "www-browser",
)  # fmt: skip
MAC_PERSONAS = ("pbcopy", "pbpaste", "open")
"""Beside these on a Mac."""

OWN = "nssh"
"""`nssh copy` and `nssh paste`; for anything else it steps aside."""

COMMAND = "nssh-remote"
"""The stub for nssh itself: it lives in the data directory and is not on the PATH."""

MARKER = b"# nssh-shim: written by `nssh infect`, taken away by `nssh infect --remove`"

_HEAD = 1024  # a marker further down than this is not looked for: the shebang's longest form stays below it

# The kernel cuts a shebang line at 127 bytes on old Linux and splits it at spaces.
_LONGEST_SHEBANG_PATH = 120


def render(python: str, lib: str) -> bytes:
    """Return the content of a stub that runs `lib` with the interpreter `python` (both absolute).

    Raises:
        ValueError: The interpreter's path has characters that no shebang and no shell line can carry safely.
    """
    if len(os.fsencode(python)) <= _LONGEST_SHEBANG_PATH and not set(python) & set(" \t\n\r'\"\\"):
        head = b"#!" + os.fsencode(python) + b" -IS\n"
    elif set(python) & set("\n\r'\\"):
        raise ValueError("the path of the interpreter holds a quote, backslash or newline")
    else:
        # To sh this is `exec 'python' -IS "$0" "$@"`; to Python a string that stands there for nothing.
        head = b"#!/bin/sh\n'''exec' '" + os.fsencode(python) + b"' -IS \"$0\" \"$@\"\n' '''\n"
    # -I leaves the script's directory and PYTHONPATH out of sys.path, -S leaves out site and what it loads.
    body = "import sys\nsys.path.insert(0, %s)\nfrom nssh.remote.entry import main\nmain(sys.argv)\n" % ascii(lib)
    return head + MARKER + b"\n" + body.encode("ascii")


def is_ours(path: str) -> bool:
    """Tell whether `path`, links followed, is a stub of nssh, whichever version wrote it; what can't be read is not."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return MARKER in os.read(fd, _HEAD)
    except OSError:
        return False
    finally:
        os.close(fd)
