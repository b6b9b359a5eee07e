"""Connects to a host for a sweep, without asking the user anything."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh import control_path
from nssh.ssh.connect import connect
from nssh.ssh.control_connection import ControlConnection
from nssh.state import session_records
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.mosh.mosh_servers import Listing
    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target


def reach(target: Target, deadline: float) -> Connection:
    """Connect by paramiko or OpenSSH; if that needs a password, use a control socket of a live session. Blocks.

    Args:
        target: The host.
        deadline: When to give up, by `time.monotonic`.

    Raises:
        ConnectError: None of the three worked.
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
    """Return the control sockets that may lead to a host: the user's own ControlPath, and those of nssh sessions."""
    try:
        sessions = [record.pid for record in session_records.live() if record.key == target.key]
    except OSError:
        sessions = []
    paths = [target.control_path, *(path for pid in sessions for path in control_path.candidates(pid))]
    return [path for path in paths if path and os.path.exists(path)]


def resolved(listing: Listing, target: Target) -> Listing:
    """Return a listing with the addresses that this machine's resolver has for the host, as a mosh-client knows it."""
    if target.proxied:
        return listing  # this machine's resolver may not know hosts behind a jump host
    try:
        found = socket.getaddrinfo(target.hostname, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return listing
    return listing._replace(addresses=tuple(sorted({*listing.addresses, *(str(one[0]) for *_, one in found)})))
