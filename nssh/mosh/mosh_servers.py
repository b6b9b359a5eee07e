"""Describes mosh-servers as their host lists them."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Word(str, enum.Enum):
    """A value that is its own text. The standard library has this as StrEnum from Python 3.11 on."""

    def __str__(self) -> str:
        return str(self.value)


class ClientState(Word):
    """Whether a client is attached to a server. If utmp does not tell, it is unknown, never detached."""

    ATTACHED = "attached"
    DETACHED = "detached"
    NEVER = "never connected"
    UNKNOWN = "unknown"


class MoshServer(NamedTuple):
    """One mosh-server. Times are ages in seconds, by the host's own clock."""

    pid: int
    start: str
    """When it was started, in the host's own format. With the PID it identifies the process."""
    age: float
    state: ClientState = ClientState.UNKNOWN
    since: float | None = None
    """Seconds since the client was lost, to the minute; None if a client is attached, or it is not known."""
    client: str = ""
    """The client's address; empty while detached."""
    idle: float | None = None
    """Seconds since something was typed on its terminal; None if it is not known."""
    runs: str = ""
    """The program in the foreground of its terminal; empty if it is not known."""
    ports: tuple[int, ...] = ()
    """The UDP ports that it listens on."""
    signal_timeout: int = 0
    """Its MOSH_SERVER_SIGNAL_TMOUT: SIGUSR1 ends it only if its client was silent so many seconds. 0 if unset."""
    birth: str = ""
    """The result of `nssh.base.process.birth` on its host; empty if it is not known."""


class Listing(NamedTuple):
    """The mosh-servers of one user on one host, oldest first."""

    servers: tuple[MoshServer, ...] = ()
    addresses: tuple[str, ...] = ()
    """The host's addresses; a mosh-client may use any of them."""
    seen_from: str = ""
    """This machine's address as the host's sshd sees it."""
