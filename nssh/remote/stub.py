"""Render and recognise stubs, the small programs that are installed as `xclip`, `xdg-open` and so on."""

from __future__ import annotations

import os

PERSONAS = (
    "xclip", "xsel", "wl-copy", "wl-paste", "xdg-open", "sensible-browser", "x-www-browser", "www-browser",
)  # fmt: skip
MAC_PERSONAS = ("pbcopy", "pbpaste", "open")
"""Further names on a Mac."""

OWN = "nssh"
"""The name for the commands of nssh on a remote; all others are left to a real nssh."""

COMMAND = "nssh-remote"
"""The stub that the laptop runs, in the data directory and not on the PATH."""

MARKER = b"# nssh-shim: written by `nssh infect`, taken away by `nssh infect --remove`"

_HEAD = 1024  # bytes in which the marker is looked for; the longest shebang is shorter

# The kernel cuts a shebang line at 127 bytes on old Linux and splits it at spaces.
_LONGEST_SHEBANG_PATH = 120


def render(python: str, lib: str) -> bytes:
    """Return the content of a stub that runs `lib` with the interpreter `python` (both absolute).

    Raises:
        ValueError: The interpreter's path has characters that neither a shebang nor a shell line can hold safely.
    """
    if len(os.fsencode(python)) <= _LONGEST_SHEBANG_PATH and not set(python) & set(" \t\n\r'\"\\"):
        head = b"#!" + os.fsencode(python) + b" -IS\n"
    elif set(python) & set("\n\r'\\"):
        raise ValueError("the path of the interpreter holds a quote, backslash or newline")
    else:
        # sh reads this as `exec 'python' -IS "$0" "$@"`, and Python as a string without effect.
        head = b"#!/bin/sh\n'''exec' '" + os.fsencode(python) + b"' -IS \"$0\" \"$@\"\n' '''\n"
    # -I keeps the script's directory and PYTHONPATH out of sys.path; -S skips the import of site.
    body = "import sys\nsys.path.insert(0, %s)\nfrom nssh.remote.entry import main\nmain(sys.argv)\n" % ascii(lib)
    return head + MARKER + b"\n" + body.encode("ascii")


def is_ours(path: str) -> bool:
    """Return whether `path`, with links followed, is a stub of any version of nssh; False if it can't be read."""
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
