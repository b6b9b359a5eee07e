"""Stand in for wl-copy and wl-paste, for the regular clipboard."""

from __future__ import annotations

import os

from nssh.remote.failure import ToolExit, UseRealTool
from nssh.remote.options import BadOption, parse_gnu
from nssh.remote.shim import TEXT, Unavailable, write_all, write_payload
from nssh.wire import mimes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.options import Options
    from nssh.remote.shim import Shim

# wl-clipboard 2.2's table.
_COPY = {
    "help": "h", "version": "v", "primary": "p", "paste-once": "o", "foreground": "f", "clear": "c",
    "trim-newline": "n", "regular": "r", "seat": "s:", "type": "t:", "sensitive": "",
}  # fmt: skip
_PASTE = {
    "help": "h", "version": "v", "primary": "p", "no-newline": "n", "list-types": "l", "watch": "w:", "seat": "s:",
    "type": "t:",
}  # fmt: skip
_NO_DISPLAY = "Failed to connect to a Wayland server\n"
_NO_RUNTIME_DIR = "error: XDG_RUNTIME_DIR is invalid or not set in the environment.\n"
_UNSUITABLE = "No suitable type of content copied\n"
_VERSION = "wl-clipboard 2.1.0\nThis one is nssh's: the clipboard is that of your laptop.\n"
_USAGE = {
    "wl-copy": """\
Usage:
\twl-copy [options] text to copy
\twl-copy [options] < file-to-copy

nssh's stand-in: copies to the clipboard of the machine you sit at.

\t-t, --type TYPE      text/plain (also if not given), text/html, image/png and so on
\t-n, --trim-newline   leave the last newline out
\t-c, --clear          leave nothing there
\t-o, -f, --sensitive have no effect here; -p and -s need the real wl-copy
""",
    "wl-paste": """\
Usage:
\twl-paste [options]

nssh's stand-in: prints the clipboard of the machine you sit at.

\t-t, --type TYPE      text, image, or a type; without it, whatever there is
\t-l, --list-types     print which types there are
\t-n, --no-newline     print it as it is
\t-p, -s and -w need the real wl-paste
""",
}

# The names under which wl-copy offers text.
_TEXT_NAMES = [TEXT, "text/plain;charset=utf-8", "TEXT", "STRING", "UTF8_STRING"]


def copy(shim: Shim, arguments: list[str]) -> int:
    """Copy as wl-copy does. Raises Failure; UseRealTool for the primary selection and another seat."""
    options = _parse(shim, arguments, _COPY)
    mime = options.get("type")
    shim.start(options, mime)
    if "clear" in options:
        shim.clear()
        return 0
    data = shim.input()
    if options.words:
        data.write(os.fsencode(" ".join(options.words)))
    else:
        data.read_from(0)
    if "trim-newline" in options:
        data.drop_last_newline()
    shim.copy(data, mime or mimes.image_type(data.head(16)) or TEXT)
    return 0


def paste(shim: Shim, arguments: list[str]) -> int:
    """Paste as wl-paste does. Raises Failure; UseRealTool for the primary selection, watching, and another seat."""
    options = _parse(shim, arguments, _PASTE)
    if options.words:
        raise UseRealTool("Unexpected argument: %s\n%s" % (options.words[0], _USAGE["wl-paste"]))
    if "watch" in options:
        raise UseRealTool("wl-paste: the laptop's clipboard can't be watched from here; ask for it when it is needed\n")
    mime = options.get("type")
    shim.start(options, mime)
    if "list-types" in options:
        types = shim.targets()
        if not types:
            raise ToolExit("No selection\n")
        names = [*(_TEXT_NAMES if TEXT in types else []), *(name for name in types if name != TEXT)]
        write_all("".join(name + "\n" for name in names).encode())
        return 0
    wanted = {"": mimes.ANYTHING, "image": mimes.ANY_IMAGE}.get(mime, mime)
    if wanted not in (mimes.ANYTHING, mimes.ANY_IMAGE) and not mimes.canonical(wanted):
        raise ToolExit(_UNSUITABLE)
    try:
        got, data = shim.paste(wanted)
    except Unavailable as error:
        raise ToolExit("No selection\n" if error.is_empty else _UNSUITABLE) from None
    write_payload(data)
    # As the real one does: a newline is added to text, and to nothing else.
    if mimes.is_text(got) and "no-newline" not in options:
        write_all(b"\n")
    return 0


def _parse(shim: Shim, arguments: list[str], known: dict[str, str]) -> Options:
    usage = _USAGE[shim.persona]
    try:
        options = parse_gnu(arguments, known, ("help", "version"))
    except BadOption as error:
        raise UseRealTool("%s: %s\n%s" % (shim.persona, error, usage)) from None
    if "help" in options or "version" in options:
        raise UseRealTool("", 0, usage if "help" in options else _VERSION)
    if "primary" in options or "seat" in options:
        lacking = "" if shim.environ.get("XDG_RUNTIME_DIR") else _NO_RUNTIME_DIR
        raise UseRealTool(lacking + _NO_DISPLAY)
    return options
