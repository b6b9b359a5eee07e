"""What the launcher tells the bridge about a session: one line of JSON on a pipe, never argv (it holds the topic).

Standard library only: the launcher writes it on the way to ssh.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from nssh.ssh.identity import Target


class SessionInfo(NamedTuple):
    """A session, as fixed at its start, and what has become known of it since."""

    pid: int
    """The launcher's."""
    birth: str
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
    """Whether the control socket is ours to end, not one of the user's configuration."""
    login_first: bool
    """Whether the launcher itself prepares the remote, in the login that it waits for."""
    transport: str
    """`ssh` or `mosh`; `` while it is not decided."""
    serial: str = ""
    """Of the topic, see `nssh.state.topics`."""
    joined: int = 0
    """PID of the session whose topic this one shares."""
    behind: str = ""
    """Birth of that process if it is the Go program's, which knows no lease: while it lives, it acts."""
    replaced: tuple[int, ...] = ()
    """PIDs of the sessions that were ended for this one."""
    prepared: bool = False
    version: str = ""
    """The remote's nssh, once prepared."""
    problem: str = ""
    child: int = 0
    """PID of the ssh or mosh-client on the terminal."""
    exit: int | None = None
    """The session's exit code, once it is over."""
    restarts: int = 0
    """How often the bridge was restarted."""

    def encode(self) -> bytes:
        """Return one line of JSON."""
        return json.dumps(self._asdict() | {"target": self.target._asdict()}).encode() + b"\n"


def decode(line: bytes) -> SessionInfo:
    """Read what `encode` wrote.

    Raises:
        ValueError, KeyError, TypeError: It was not written by the same version of nssh.
    """
    fields = json.loads(line)
    target = fields["target"]
    fields["target"] = Target(
        target["destination"], tuple(target["ssh"]), tuple(target["options"]), dict(target["config"])
    )
    fields["replaced"] = tuple(fields["replaced"])
    return SessionInfo(**fields)
