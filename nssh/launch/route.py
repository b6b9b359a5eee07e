"""Decides how a session gets to its prompt: ssh at once or after a login, mosh or not. Standard library only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import NsshError

if TYPE_CHECKING:
    from nssh.ssh.argv import Connect


class Route(NamedTuple):
    """How a session gets to its prompt."""

    login_first: bool
    """Whether a login runs a script on the remote before the session's own program starts."""
    mosh: bool
    wrapper: bool = False
    """Whether the mosh wrapper of `[mosh] command` starts the session, with a login of its own."""
    why: str = ""
    """Why it is mosh, or ssh, in words for the user."""


def find_program(name: str) -> str | None:
    """Return the path of a program, or None if it is not on the PATH. Importing `shutil.which` would cost 8 ms."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def choose_route(request: Connect, *, wrapped: bool, proxied: bool, on_terminal: bool, login_first: bool) -> Route:
    """Choose how a session gets to its prompt.

    Args:
        request: The command line.
        wrapped: Whether the configuration names a mosh wrapper.
        proxied: Whether the connection goes through a jump host or a ProxyCommand.
        on_terminal: Whether standard input, output and error are a terminal.
        login_first: Whether the remote must be prepared before the session's first program runs.

    Raises:
        NsshError: The command line asks for mosh, which is not possible.
    """
    # A command runs over ssh, unless --mosh is given: mosh has no exit status, and passes no shell command line.
    mosh = request.mode == "mosh" or (not request.mode and not request.ssh.command)
    if mosh and any("\n" in word for word in request.ssh.command):
        raise NsshError("a command with a newline in it can't be given to mosh-server; use --ssh")
    if mosh and wrapped:
        return Route(login_first=False, mosh=True, wrapper=True, why="config.toml names a command for it")
    missing = mosh and find_program("mosh-client") is None
    if request.mode:
        if missing:
            raise NsshError("mosh-client is not on this machine's PATH: install mosh, or use --ssh")
        return Route(login_first=mosh or login_first, mosh=mosh, why=f"--{request.mode} was given")
    # Behind a jump host, mosh's UDP rarely gets through; without a terminal, mosh does not work.
    obstacles = {
        "a command was given": not mosh,
        "mosh is not on this machine": missing,
        "a jump host is in the way": proxied,
        "standard output is not a terminal": not on_terminal,
    }
    against = next((why for why, is_there in obstacles.items() if is_there), "")
    return Route(login_first=not against or login_first, mosh=not against, why=against or "both sides have it")
