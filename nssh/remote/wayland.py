"""wl-copy and wl-paste, for the regular clipboard."""

from __future__ import annotations

import os

from nssh.remote.failure import Failure, NotOurs
from nssh.remote.options import parse_gnu
from nssh.remote.shim import TEXT, read_all, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim

FAILED = 1

# wl-clipboard 2.2's table.
_COPY = {
    "help": "h", "version": "v", "primary": "p", "paste-once": "o", "foreground": "f", "clear": "c",
    "trim-newline": "n", "regular": "r", "seat": "s:", "type": "t:", "sensitive": "",
}  # fmt: skip
_PASTE = {
    "help": "h", "version": "v", "primary": "p", "no-newline": "n", "list-types": "l", "watch": "w:", "seat": "s:",
    "type": "t:",
}  # fmt: skip


def copy(shim: Shim, arguments: list[str]) -> int:
    """Do what wl-copy would. Raises Failure; NotOurs for the primary selection and another seat."""
    options = parse_gnu(arguments, _COPY)
    for name in ("help", "version", "primary", "seat"):
        if name in options:
            raise NotOurs("--%s is not for the laptop, and there is no other wl-copy on the PATH" % name)
    mime = options.get("type")
    shim.start(options, mime if len(mime) < 80 else "")
    if "clear" in options:
        raise Failure("clearing is not carried to the laptop; its clipboard stays as it is")
    data = os.fsencode(" ".join(options.words)) if options.words else read_all(0)
    if "trim-newline" in options and data.endswith(b"\n"):
        data = data[:-1]
    shim.copy(data, mime or _guess(data))
    return 0


def paste(shim: Shim, arguments: list[str]) -> int:
    """Do what wl-paste would. Raises Failure; NotOurs for the primary selection, watching, and another seat."""
    options = parse_gnu(arguments, _PASTE)
    for name in ("help", "version", "primary", "seat", "watch"):
        if name in options:
            raise NotOurs("--%s is not for the laptop, and there is no other wl-paste on the PATH" % name)
    mime = options.get("type")
    shim.start(options, mime if len(mime) < 80 else "")
    if "list-types" in options:
        write_all("".join(line + "\n" for line in shim.targets()).encode())
        return 0
    data = shim.paste(mime)
    if not data:
        raise Failure("nothing is copied on the laptop")
    # As the real one: text for people to read ends with a newline, everything else is as it is.
    is_text = not mime or "/" not in mime or mime.startswith("text/")
    write_all(data + b"\n" if is_text and "no-newline" not in options else data)
    return 0


def _guess(data: bytes) -> str:
    """Infer the type of what is copied without one, as wl-copy does with `xdg-mime`, for what the laptop can take."""
    return "image/png" if data.startswith(b"\x89PNG\r\n\x1a\n") else TEXT
