"""Stand in for xclip, for the clipboard selection."""

from __future__ import annotations

import os

from nssh.remote.failure import Failure, ToolExit, UseRealTool
from nssh.remote.options import parse_x
from nssh.remote.shim import TEXT, Unavailable, write_all, write_payload
from nssh.wire import mimes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.payload import Payload
    from nssh.remote.shim import Shim

# The options of xclip 0.13 and newer versions; True: the next word is the value.
_OPTIONS = {
    "in": False, "out": False, "selection": True, "target": True, "filter": False, "rmlastnl": False, "loops": True,
    "display": True, "wait": True, "silent": False, "quiet": False, "verbose": False, "sensitive": False,
    "noutf8": False, "version": False, "help": False, "debug": False,
}  # fmt: skip

# These came later, and must not make -se (for -selection) and -d (for -display) ambiguous.
_EXACT = ("sensitive", "debug")

_TEXT_ATOMS = ["UTF8_STRING", "STRING", "TEXT", "text/plain;charset=utf-8", TEXT]

_HELP = {
    "version": "xclip version 0.13\nThis one is nssh's: -selection clipboard is the clipboard of your laptop.\n",
    "help": """\
Usage: xclip [OPTION] [FILE]...
nssh's stand-in: -selection clipboard is the clipboard of the machine you sit at.

  -i, -in, -o, -out                  to the clipboard (from stdin or files), or from it
  -selection clipboard               anything else needs a display and the real xclip
  -t, -target TYPE                   such as image/png, text/html; with -o TARGETS lists what there is
  -f, -filter   -r, -rmlastnl        pass the input on; cut the last newline
  -silent, -quiet, -verbose, -debug, -loops, -wait, -sensitive have no effect here
""",
}


def run(shim: Shim, arguments: list[str]) -> int:
    """Copy or paste as xclip does. Raises Failure; UseRealTool for other selections and displays."""
    options = parse_x(arguments, _OPTIONS, _EXACT)
    asked = options.last("version", "help")
    if asked:
        raise UseRealTool(_HELP[asked], 0)
    # xclip looks at the first letter alone.
    if options.get("selection")[:1].lower() != "c" or "display" in options:
        display = options.get("display") if "display" in options else shim.environ.get("DISPLAY", "(null)")
        raise UseRealTool("Error: Can't open display: %s\n" % display)
    target = "STRING" if "noutf8" in options else options.get("target")
    shim.start(options, target)
    strip = "rmlastnl" in options
    if options.last("in", "out") == "out":
        if target == "TARGETS":
            _targets(shim)
        else:
            # The real xclip asks for UTF8_STRING, then for STRING, and its error names the latter.
            utf8 = "target" not in options or target == "UTF8_STRING"
            _out(shim, "STRING" if utf8 else target, strip=strip)
        return 0
    data = shim.input()
    _read(data, options.words)
    if strip:
        data.drop_last_newline()
    if (
        "filter" in options
        and not options.words
        and options.last("silent", "quiet", "verbose", "debug") in ("", "silent")
    ):
        write_payload(data)
    shim.copy(data, target)
    return 0


def _out(shim: Shim, target: str, *, strip: bool) -> None:
    missing = ToolExit("Error: target %s not available\n" % target)
    if not target or not mimes.canonical(target):
        raise missing
    try:
        _, data = shim.paste(target)
    except Unavailable:
        raise missing from None
    if strip:
        data.drop_last_newline()
    write_payload(data)


def _targets(shim: Shim) -> None:
    """Print targets as an X selection owner does: the atoms for plain text, if there is text, then the types."""
    types = shim.targets()
    if not types:
        raise ToolExit("Error: target TARGETS not available\n")
    atoms = ["TARGETS", *(_TEXT_ATOMS if TEXT in types else [])]
    atoms += [mime for mime in types if mime not in atoms]
    write_all("".join(atom + "\n" for atom in atoms).encode())


def _read(data: Payload, names: list[str]) -> None:
    if not names:
        data.read_from(0)
    for name in names:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ToolExit("xclip: %s: %s\n" % (name, error.strerror)) from None
        try:
            data.read_from(fd)
        except Failure as failure:
            raise ToolExit("xclip: %s: %s\n" % (name, failure)) from None
        finally:
            os.close(fd)
