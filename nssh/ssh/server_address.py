"""The address at the other end of our own ssh connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from nssh.ssh.mux import master_pid

if TYPE_CHECKING:
    from nssh.ssh.identity import Target


# Seconds: the master is a process of this machine.
_TIMEOUT = 2.0


def address(target: Target, control_path: str) -> str:
    """Return the TCP peer of the master behind a control socket, `` if it can't be told.

    The master tells its PID; its one established connection to the target's port is the one meant.
    """
    master = master_pid(control_path, _TIMEOUT)
    if master is None:
        return ""
    try:
        connections = psutil.Process(master).net_connections("tcp")
    except psutil.Error:
        return ""
    peers = [link.raddr.ip for link in connections if link.raddr and link.raddr.port == target.port]
    return str(peers[0]).removeprefix("::ffff:") if peers else ""
