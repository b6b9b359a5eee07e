"""What is remembered of a remote between sessions, `hosts/<key>.json`: whether it has nssh. Standard library only."""

from __future__ import annotations

import binascii
import json
import os
from typing import NamedTuple

from nssh import __version__
from nssh.base.printable import printable
from nssh.state.topics import file_name
from nssh.wire import files


class RememberedHost(NamedTuple):
    """A remote as last seen."""

    version: str = ""
    """Its nssh (`version digest python`), `` if it had none."""
    declined: bool = False
    """Whether the user said no to an installation."""
    session: str = ""
    """Checksum of the session file that was last written there, or tried to be."""


def _path(key: str) -> str:
    return os.path.join(files.state_dir(), "hosts", file_name(key) + ".json")


def read(key: str) -> RememberedHost:
    """Return what is known of a remote; nothing known, or nothing readable, is the default."""
    try:
        with open(_path(key), "rb") as file:
            content = json.loads(file.read(4096))
        return RememberedHost(
            str(content.get("version", "")), content.get("declined") is True, str(content.get("session", ""))
        )
    except (OSError, ValueError, AttributeError, RecursionError):
        return RememberedHost()


def checksum(session_file: str) -> str:
    """Return what stands for a session file's text: enough to see a change, not enough to find the topic."""
    return f"{binascii.crc32(session_file.encode()):08x}"


def write(key: str, host: RememberedHost) -> None:
    """Remember a remote.

    Raises:
        OSError: The state directory can't be written.
    """
    host = host._replace(version=printable(host.version, 300))  # the remote may have said anything
    if host != read(key):
        files.make_private_dir(os.path.dirname(_path(key)))
        files.write_private(_path(key), json.dumps(host._asdict()).encode())


def difference(destination: str, version: str) -> str:
    """Return a line for the user if the remote's nssh is another version than ours, `` if not or if it has none."""
    theirs = printable(version.partition(" ")[0], 40)
    if not theirs or theirs == __version__:
        return ""
    return f"{destination} has nssh {theirs}, this is {__version__}: run nssh infect {destination}"
