"""xclip, for the clipboard selection."""

from __future__ import annotations

import os

from nssh.remote.failure import Failure, NotOurs
from nssh.remote.options import parse_x
from nssh.remote.shim import TEXT, read_all, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim

FAILED = 1

# xclip 0.13's table; True: the next word is the value.
_OPTIONS = {
    "in": False, "out": False, "selection": True, "target": True, "filter": False, "rmlastnl": False, "loops": True,
    "display": True, "wait": True, "silent": False, "quiet": False, "verbose": False, "sensitive": False,
    "noutf8": False, "version": False, "help": False,
}  # fmt: skip

# Newer than the habit of writing -se for -selection.
_EXACT = ("sensitive",)

_TEXT_ATOMS = ["UTF8_STRING", "STRING", "TEXT", "text/plain;charset=utf-8", TEXT]


def run(shim: Shim, arguments: list[str]) -> int:
    """Do what xclip would. Raises Failure; NotOurs for other selections and displays."""
    options = parse_x(arguments, _OPTIONS, _EXACT)
    if "version" in options or "help" in options:
        raise NotOurs("this is nssh's stand-in for xclip; there is no other one on the PATH to ask")
    # xclip looks at the first letter alone.
    if options.get("selection")[:1].lower() != "c":
        raise NotOurs("only -selection clipboard goes to the laptop, and there is no other xclip on the PATH")
    if "display" in options:
        raise NotOurs("there is no other xclip on the PATH to talk to a display")
    target = options.get("target")
    shim.start(options, target if len(target) < 80 else "")
    strip = "rmlastnl" in options
    if "out" not in options:
        data = _input(options.words)
        if "filter" in options:
            write_all(data)
        shim.copy(_without_newline(data) if strip else data, target)
    elif target == "TARGETS":
        write_all("".join(atom + "\n" for atom in _atoms(shim.targets())).encode())
    else:
        data = shim.paste(target)
        write_all(_without_newline(data) if strip else data)
    return 0


def _without_newline(data: bytes) -> bytes:
    return data[:-1] if data.endswith(b"\n") else data


def _input(names: list[str]) -> bytes:
    if not names:
        return read_all(0)
    pieces = []
    for name in names:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Failure("%s: %s" % (ascii(name)[1:-1], error.strerror)) from None
        try:
            pieces.append(read_all(fd, "the file"))
        finally:
            os.close(fd)
    return b"".join(pieces)


def _atoms(types: list[str]) -> list[str]:
    """List what an X selection owner would: the atoms for plain text if there is any, then the types themselves."""
    atoms = ["TARGETS"]
    if any(mime == TEXT or mime.startswith("text/plain;") for mime in types):
        atoms += _TEXT_ATOMS
    return atoms + [mime for mime in types if mime not in atoms]
