"""pbcopy and pbpaste, on a remote that is a Mac."""

from __future__ import annotations

from nssh.remote.failure import NotOurs
from nssh.remote.options import Options
from nssh.remote.shim import TEXT, Unavailable, write_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim


def copy(shim: Shim, arguments: list[str]) -> int:
    """Do what pbcopy would. Raises Failure; NotOurs for another pasteboard."""
    _parse(shim, arguments)
    data = shim.input()
    data.read_from(0)
    shim.copy(data, TEXT)
    return 0


def paste(shim: Shim, arguments: list[str]) -> int:
    """Do what pbpaste would: text, byte for byte, or nothing at all. Raises Failure; NotOurs for another pasteboard."""
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
        # Whatever is preferred, the laptop gives text.
        ours = {"-pboard": value == "general", "-Prefer": value in ("txt", "ascii")}
        if not ours.get(word):
            raise NotOurs("%s: only the text of the general pasteboard goes to the laptop\n" % shim.persona)
        options.add(word[1:], value)
    shim.start(options)
