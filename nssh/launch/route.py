"""Which way a session takes to its prompt: ssh at once, or a login first; mosh, or not. Standard library only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import NsshError

if TYPE_CHECKING:
    from nssh.ssh.argv import Connect


class Route(NamedTuple):
    """How a session gets to its prompt."""

    login_first: bool
    """A login of ours runs a script before the session's own program."""
    mosh: bool
    wrapper: bool = False
    """The mosh wrapper of `[mosh] command`, with a login of its own."""


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not on the PATH (`shutil.which` costs 8 ms to import)."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def choose_route(request: Connect, *, wrapped: bool, proxied: bool, on_terminal: bool, login_first: bool) -> Route:
    """Choose the way.

    Args:
        request: What was asked for.
        wrapped: Whether the configuration names a mosh wrapper.
        proxied: Whether something else than ssh makes the connection, such as a jump host.
        on_terminal: Whether all three standard streams are one.
        login_first: Whether there is something to be done on the remote before a program of the session's runs.

    Raises:
        NsshError: What was asked for can't be.
    """
    # mosh tells no exit status and knows no shell's command line: a command is for ssh, unless --mosh says so.
    mosh = request.mode == "mosh" or (not request.mode and not request.ssh.command)
    if mosh and any("\n" in word for word in request.ssh.command):
        raise NsshError("a command with a newline in it can't be given to mosh-server; use --ssh")
    if mosh and wrapped:
        return Route(login_first=False, mosh=True, wrapper=True)
    if mosh and find_program("mosh-client") is None:
        if request.mode == "mosh":
            raise NsshError("mosh-client is not on this machine's PATH: install mosh, or use --ssh")
        mosh = False
    if not request.mode and (proxied or not on_terminal):
        # Behind a jump host mosh's UDP rarely gets through, and a script wants its pipes: ssh, unless told --mosh.
        mosh = False
    return Route(login_first=mosh or login_first, mosh=mosh)
