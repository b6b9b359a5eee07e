"""The way to a host that is to be swept: a connection of its own, and nobody is ever asked anything."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh import control_path
from nssh.ssh.connect import connect
from nssh.ssh.control_connection import ControlConnection
from nssh.state import records
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target
    from nssh.sweep.mosh_servers import Listing


def reach(target: Target, deadline: float) -> Connection:
    """Connect: by paramiko, by OpenSSH, or, where a password would be needed, over a connection that is live already.

    Args:
        target: Where to.
        deadline: By `time.monotonic`.

    Raises:
        ConnectError: None of the ways worked.
    """
    remember = os.path.join(files.state_dir(), "routes.json")
    try:
        return connect(target, control_path=None, deadline=deadline, remember=remember)
    except ConnectError as error:
        if error.kind != "auth":
            raise
        for path in _control_paths(target):
            connection = ControlConnection(target, path)
            if connection.alive():
                return connection
        raise


def _control_paths(target: Target) -> list[str]:
    """Return the sockets of connections that the user may have open: the user's own, and those of nssh's sessions."""
    try:
        sessions = [record.pid for record in records.live() if record.key == target.key]
    except OSError:
        sessions = []
    paths = [target.control_path, *(path for pid in sessions for path in control_path.candidates(pid))]
    return [path for path in paths if path and os.path.exists(path)]


def resolved(listing: Listing, target: Target) -> Listing:
    """Add the addresses of a host by our own resolver, as a mosh-client knows it that began here."""
    if target.proxied:
        return listing  # what is behind a jump host is not known to our resolver
    try:
        found = socket.getaddrinfo(target.hostname, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return listing
    return listing._replace(addresses=tuple(sorted({*listing.addresses, *(str(one[0]) for *_, one in found)})))
