"""Stand in for pbcopy and pbpaste, on a remote that is a Mac."""

from __future__ import annotations

from nssh.remote.failure import UseRealTool
from nssh.remote.options import Options
from nssh.remote.shim import TEXT, Unavailable, write_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim


def copy(shim: Shim, arguments: list[str]) -> int:
    """Copy as pbcopy does. Raises Failure; UseRealTool for another pasteboard."""
    _parse(shim, arguments)
    data = shim.input()
    data.read_from(0)
    shim.copy(data, TEXT)
    return 0


def paste(shim: Shim, arguments: list[str]) -> int:
    """Print text as pbpaste does, byte for byte, or nothing. Raises Failure; UseRealTool for another pasteboard."""
    _parse(shim, arguments)
    try:
        _, data = shim.paste(TEXT)
    except Unavailable:
        return 0
    write_payload(data)
    return 0


def _parse(shim: Shim, arguments: list[str]) -> None:
    options = Options()
    rest = iter(arguments)
    for word in rest:
        value = next(rest, "")
        # Both preferences are answered with plain text.
        ours = {"-pboard": value == "general", "-Prefer": value in ("txt", "ascii")}
        if not ours.get(word):
            raise UseRealTool("%s: only the text of the general pasteboard goes to the laptop\n" % shim.persona)
        options.add(word[1:], value)
    shim.start(options)
