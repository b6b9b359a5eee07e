"""Stand in for xdg-open, open and browsers: open http and https URLs on the laptop."""

from __future__ import annotations

import os

from nssh.remote.failure import Failure, UseRealTool
from nssh.remote.options import Options
from nssh.wire import envelope as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim

_LONGEST = 16 << 10

# Personas that take one argument; a browser takes any number.
_OPENERS = ("xdg-open",)
_USAGE = """\
xdg-open: nssh's stand-in, opens http and https URLs in the browser of the machine you sit at

Synopsis

xdg-open { file | URL }

xdg-open { --help | --manual | --version }

Anything else than a URL needs the real xdg-open.
"""
_TRY = "Try 'xdg-open --help' for more information.\n"
_NO_BROWSER = (
    "Couldn't find a suitable web browser!\n\nSet the BROWSER environment variable to your desired browser.\n\n"
)


def run(shim: Shim, arguments: list[str]) -> int:
    """Open URLs on the laptop, in order. Raises Failure; UseRealTool unless all are http or https."""
    if not arguments or (shim.persona in _OPENERS and len(arguments) > 1) or not all(map(_is_url, arguments)):
        raise _without_tool(shim.persona, arguments)
    urls = [_clean(word) for word in arguments]
    shim.start(Options())
    for url in urls:
        shim.publish(wire.Envelope(wire.KIND_OPEN, url=url, id=wire.new_id()))
    return 0


def _is_url(word: str) -> bool:
    return word[:8].lower().startswith(("http://", "https://"))


def _without_tool(persona: str, arguments: list[str]) -> UseRealTool:
    """Return what the real tool prints on a machine without a desktop."""
    if persona == "xdg-open":
        return _xdg_open(arguments)
    return UseRealTool("open: only http and https URLs go to the laptop\n" if persona == "open" else _NO_BROWSER)


def _xdg_open(arguments: list[str]) -> UseRealTool:
    word = arguments[0] if arguments else ""
    out, text, status = "", "", 1
    path = word[7:] if word.startswith("file://") else word
    if not arguments:
        out = _USAGE
    elif word in ("--help", "--manual", "--version"):
        out, status = "xdg-open 1.1.3 (nssh)\n" if word == "--version" else _USAGE, 0
    elif word.startswith("-"):
        text = "xdg-open: unexpected option '%s'\n%s" % (word, _TRY)
    elif len(arguments) > 1:
        text = "xdg-open: unexpected argument '%s'\n%s" % (arguments[1], _TRY)
    elif (path != word or not _has_scheme(word)) and not os.path.exists(path):
        text, status = "xdg-open: file '%s' does not exist\n" % path, 2
    else:
        text, status = "xdg-open: no method available for opening '%s'\n" % word, 3
    return UseRealTool(text, status, out)


def _has_scheme(word: str) -> bool:
    scheme, colon, _ = word.partition(":")
    return bool(colon) and all(character.isalnum() or character in "-+." for character in scheme)


def _clean(url: str) -> str:
    """Return an argument as a URL, with spaces and bytes that are not UTF-8 percent-encoded. Raises Failure."""
    if len(url) > _LONGEST:
        raise Failure("the URL is longer than %d characters" % _LONGEST)
    if any(character < " " or character == "\x7f" for character in url):
        raise Failure("the URL holds control characters")
    return "".join(
        "".join("%%%02X" % byte for byte in os.fsencode(character))
        if character == " " or "\ud800" <= character <= "\udfff"
        else character
        for character in url
    )
