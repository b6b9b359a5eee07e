"""Defines what the launcher tells the bridge about a session: one line of JSON on a pipe.

It holds the topic, a secret, so it is never in argv. Standard library only: the launcher writes it on the way to ssh.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from nssh.ssh.identity import Target
from nssh.state.session_records import Record


class SessionInfo(NamedTuple):
    """A session: what is fixed at its start, and what became known since."""

    pid: int
    """The launcher's PID."""
    birth: str
    """The launcher's `nssh.base.process.birth`."""
    started: str
    """RFC 3339, UTC."""
    target: Target
    key: str
    server: str
    topic: str
    ledger: str
    lease: str
    log: str
    session_file: str
    """The text of the remote's session file."""
    control_path: str
    own_control: bool
    """Whether the control socket is the session's own, which nssh ends, and not of the user's configuration."""
    login_first: bool
    """Whether the launcher prepares the remote, in a login that it waits for."""
    transport: str
    """`ssh` or `mosh`; empty until it is decided."""
    serial: str = ""
    """The topic's serial, see `nssh.state.topics`."""
    joined: int = 0
    """PID of the session whose topic this one shares; 0 if there is none."""
    leader_file: str = ""
    """The session file to write when the Go program, which acts at first, has ended; empty if none acts."""
    behind: str = ""
    """Birth of that process if it is the Go program. That knows no lease, so it acts for as long as it lives."""
    takeover: str = ""
    """Names the moment since which the topic is ours: the end of the foreign session that had it, as PID and start, or
    `first` if the configuration pins a topic that we have never used. What the topic had before was for another
    program, and is not acted on. Empty if the topic has always been ours."""
    replaced: tuple[int, ...] = ()
    """PIDs of the sessions that were ended for this one."""
    prepared: bool = False
    version: str = ""
    """The remote's nssh, once the remote is prepared."""
    problem: str = ""
    child: int = 0
    """PID of the ssh or mosh-client on the terminal."""
    exit: int | None = None
    """The session's exit code; None while it runs."""
    restarts: int = 0
    """How often the bridge was restarted."""
    bus_heard: float = 0.0
    """When the bridges before this one last heard the bus, by `nssh.base.clock.uptime`; 0 if they never did."""

    @property
    def record(self) -> Record:
        """The session's record, as far as the launcher knows: fields of the same name mean the same in both."""
        same = {name: value for name, value in self._asdict().items() if name in Record._fields}
        return Record(**same | {"target": self.target.destination, "host": self.target.short_name})

    def encode(self) -> bytes:
        """Return the session as a line of JSON."""
        return json.dumps(self._asdict() | {"target": self.target._asdict()}).encode() + b"\n"


def decode(line: bytes) -> SessionInfo:
    """Read a line that `encode` returned.

    Raises:
        ValueError, KeyError, TypeError: Another version of nssh wrote the line.
    """
    fields = json.loads(line)
    target = fields["target"]
    fields["target"] = Target(
        target["destination"], tuple(target["ssh"]), tuple(target["options"]), dict(target["config"])
    )
    fields["replaced"] = tuple(fields["replaced"])
    return SessionInfo(**fields)
