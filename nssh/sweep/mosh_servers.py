"""What is known of one mosh-server on one host."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Attachment(enum.StrEnum):
    """Whether anybody is at the other end; what utmp does not tell is unknown, never detached."""

    ATTACHED = "attached"
    DETACHED = "detached"
    NEVER = "never connected"
    UNKNOWN = "unknown"


class MoshServer(NamedTuple):
    """One mosh-server, as its host describes it; times are seconds ago, by the host's own clock."""

    pid: int
    start: str
    """A word of the host's that no other process with this PID shares: when it was started."""
    age: float
    state: Attachment = Attachment.UNKNOWN
    since: float | None = None
    """How long it has been detached, to the minute."""
    client: str = ""
    """The address of its client, while attached."""
    idle: float | None = None
    """How long nothing was typed on its terminal; None if that can't be told."""
    runs: str = ""
    """The program in the foreground of its terminal."""
    ports: tuple[int, ...] = ()
    """UDP ports that it listens on."""
    signal_timeout: int = 0
    """Its MOSH_SERVER_SIGNAL_TMOUT, seconds: SIGUSR1 ends it only after so long a silence. 0: it was given none."""
    birth: str = ""
    """What `nssh.base.process.birth` would tell of it on its own host, or ``."""


class Listing(NamedTuple):
    """The mosh-servers of one user on one host, oldest first."""

    servers: tuple[MoshServer, ...] = ()
    addresses: tuple[str, ...] = ()
    """Addresses of the host, as a mosh-client may know it."""
    seen_from: str = ""
    """The address under which the host sees us."""
