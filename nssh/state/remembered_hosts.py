"""Remembers in `hosts/<key>.json` whether a remote has nssh, or the Go program's shims. Standard library only."""

from __future__ import annotations

import binascii
import json
import os
from typing import NamedTuple

from nssh import __version__
from nssh.base.printable import printable
from nssh.state.topics import file_name
from nssh.wire import files, session_file


class RememberedHost(NamedTuple):
    """What the last session saw of a remote."""

    version: str = ""
    """The installed nssh as `version digest python`; empty if there was none."""
    declined: bool = False
    """Whether the user declined an installation."""
    session: str = ""
    """The checksum of the session file that was last written there, or could not be."""
    go_shims: bool = False
    """Whether it has the Go program's shims."""


def _path(key: str) -> str:
    return os.path.join(files.state_dir(), "hosts", file_name(key) + ".json")


def read(key: str) -> RememberedHost:
    """Return what is remembered of a remote; the defaults if there is no usable file."""
    try:
        with open(_path(key), "rb") as file:
            content = json.loads(file.read(4096))
        return RememberedHost(
            str(content.get("version", "")),
            content.get("declined") is True,
            str(content.get("session", "")),
            content.get("go_shims") is True,
        )
    except (OSError, ValueError, AttributeError, RecursionError):
        return RememberedHost()


def checksum(session_file: str) -> str:
    """Return the CRC-32 of a session file's text. It shows a change, and does not reveal the topic."""
    return f"{binascii.crc32(session_file.encode()):08x}"


def write(key: str, host: RememberedHost) -> None:
    """Remember a remote.

    Raises:
        OSError: The state directory can't be written.
    """
    host = host._replace(version=printable(host.version, 300))  # the text comes from the remote
    if host != read(key):
        files.make_private_dir(os.path.dirname(_path(key)))
        files.write_private(_path(key), json.dumps(host._asdict()).encode())


def difference(destination: str, version: str) -> str:
    """Return a line for the user if the remote has another version of nssh; empty if it has the same, or none."""
    theirs = printable(version.partition(" ")[0], 40)
    if not theirs or theirs == __version__:
        return ""
    return f"{destination} has nssh {theirs}, this is {__version__}: run nssh infect {destination}"


def go_shims_problem(destination: str, server: str, *, credentials: bool) -> str:
    """Return a line for the user if the Go program's shims on a remote can't reach the bus; empty if they can."""
    replace = f"run nssh infect --force {destination}"
    if server == session_file.RELAY:
        return f"{destination} has Go's nssh, which can't use the relay: {replace}, or set server = \"https://…\""
    if credentials:
        return f"{destination} has Go's nssh, which can't log in to an ntfy server: {replace}"
    return ""
