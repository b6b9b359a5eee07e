"""xdg-open and sensible-browser, for http and https."""

from __future__ import annotations

import os

from nssh.remote.failure import Failure, NotOurs
from nssh.remote.options import Options
from nssh.wire import envelope as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim

NO_TOOL = 3
"""xdg-open's status for: a required tool could not be found."""
FAILED = 4
"""xdg-open's status for: the action failed."""

_LONGEST = 16 << 10


def run(shim: Shim, arguments: list[str]) -> int:
    """Open URLs on the laptop, in order. Raises Failure; NotOurs unless all are http or https."""
    if not arguments or (shim.persona == "xdg-open" and len(arguments) > 1):
        raise NotOurs("a URL is needed, and there is no other %s on the PATH to ask" % shim.persona)
    if not all(word[:8].lower().startswith(("http://", "https://")) for word in arguments):
        raise NotOurs("only http and https URLs go to the laptop, and there is no other %s on the PATH" % shim.persona)
    urls = [_clean(word) for word in arguments]
    shim.start(Options())
    for url in urls:
        shim.publish(wire.Envelope(wire.KIND_OPEN, url=url, id=wire.new_id()))
    return 0


def _clean(url: str) -> str:
    """Make an argument a URL that can travel: spaces and bytes that are no text are percent-encoded."""
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
