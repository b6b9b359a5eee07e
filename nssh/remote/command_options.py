"""Read the options of a command of `nssh` on a remote, as the laptop's commands do: whole words, anywhere."""

from __future__ import annotations

from nssh.remote import usage
from nssh.remote.failure import ToolExit, UseRealTool
from nssh.remote.options import BadOption, parse_gnu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nssh.remote.options import Options


def read(command: str, arguments: list[str], known: Mapping[str, str]) -> Options:
    """Return the options and words of a command; `known` is as for `parse_gnu`, and has `help`.

    Raises:
        ToolExit: Help is asked for.
        UseRealTool: An option is wrong; another nssh may know it.
    """
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for word in own:
        if word.startswith("--") and word[2:].partition("=")[0] not in known:
            raise wrong(command, "unknown option %s" % word[:80])
    try:
        options = parse_gnu(arguments, known, ("help",))
    except BadOption as error:
        raise wrong(command, str(error)) from None
    if "help" in options:
        raise ToolExit("", 0, usage.text(command))
    return options


def wrong(command: str, reason: str) -> UseRealTool:
    """Return the error for wrong usage of a command."""
    return UseRealTool("nssh: %s; see nssh %s --help\n" % (reason, command), 2)
