"""Find the address that our own ssh connection leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from nssh.ssh.mux import master_pid

if TYPE_CHECKING:
    from nssh.ssh.identity import Target


_TIMEOUT = 2.0  # seconds for the master, a process of this machine, to answer


def address(target: Target, control_path: str) -> str:
    """Return the address of the TCP peer of the master behind a control socket; empty if it can't be found out.

    The master tells its PID, and the kernel lists that process's connections: the one to the target's port counts.
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
