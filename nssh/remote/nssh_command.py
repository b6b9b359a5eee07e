"""`nssh` on a remote: the commands that make sense where only the shims are installed.

Everything else is for another nssh further down the PATH, if there is one.
"""

from __future__ import annotations

import os

from nssh.remote import usage
from nssh.remote.failure import ToolExit, UseRealTool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim


def run(shim: Shim, arguments: list[str]) -> int:
    """Run a command, and return its exit status. Raises Failure, ToolExit; UseRealTool for what is not for a remote."""
    command, rest = "".join(arguments[:1]), arguments[1:]
    if command in ("copy", "paste"):
        from nssh.remote import nssh_copy_paste

        return nssh_copy_paste.run(shim, arguments)
    if command == "status":
        from nssh.remote import status

        return status.run(shim, rest)
    if command == "sweep":
        from nssh.remote import sweep

        return sweep.run(shim, rest)
    if command == "infect":
        from nssh.remote import infect_self

        return infect_self.run(shim, rest)
    if command in ("version", "--version", "-V"):
        from nssh.remote import version

        raise _told(version.text(os.getppid()))
    if command in ("help", "--help", "-h"):
        raise _told(usage.text("".join(rest[:1])))
    raise UseRealTool(usage.ELSEWHERE, 2)


def _told(text: str) -> ToolExit:
    """Return the end by which a text is printed, unless there is a whole nssh, which has its own."""
    from nssh.remote import whole_nssh

    return UseRealTool("", 0, text) if whole_nssh.find() else ToolExit("", 0, text)
