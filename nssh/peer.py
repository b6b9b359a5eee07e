"""The address at the other end of our own ssh connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from nssh import spawn
from nssh.login import control_options

if TYPE_CHECKING:
    from nssh.identity import Target


def address(target: Target, control_path: str) -> str:
    """Return the TCP peer of the master behind a control socket, `` if it can't be told.

    `ssh -O check` names the master's PID; its one established connection to the target's port is the one meant.
    """
    if not control_path:
        return ""
    _, output = spawn.capture(
        [*target.ssh, *control_options(target, control_path), *target.options, "-O", "check", "--", target.destination],
        merge_stderr=True,
    )
    _, _, tail = output.partition(b"(pid=")
    digits = tail.partition(b")")[0]
    if not digits.isdigit():
        return ""
    try:
        connections = psutil.Process(int(digits)).net_connections("tcp")
    except psutil.Error:
        return ""
    peers = [link.raddr.ip for link in connections if link.raddr and link.raddr.port == target.port]
    return str(peers[0]).removeprefix("::ffff:") if peers else ""
