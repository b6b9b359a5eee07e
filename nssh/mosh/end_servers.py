"""Writes the input of the script that ends chosen mosh-servers, `end_servers.sh`, and reads its output.

The script ends a server only if its PID still belongs to the process that was listed: same owner, name and start time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nssh.mosh.mosh_servers import MoshServer, Word

if TYPE_CHECKING:
    from collections.abc import Iterable

GRACE = 11
"""Seconds from SIGTERM to SIGKILL: mosh-server takes up to 10 to tell its client."""
LONGEST = GRACE + 10.0
"""Seconds that the script takes at most, on a machine that is not overloaded."""


class EndMethod(Word):
    """How a server is asked to end."""

    TERM = "TERM"
    """Send SIGTERM, and SIGKILL if the server is still there `GRACE` seconds later."""
    DETACHED = "DETACHED"
    """As `TERM`, but leave the server alone if utmp says that a client is attached again."""
    UNUSED = "USR1"
    """Send SIGUSR1. A server that was given MOSH_SERVER_SIGNAL_TMOUT ends by it only if its client is silent."""


class Fate(Word):
    """What became of a chosen server; the values are shown to the user and stand in `--json`."""

    ENDED = "ended"
    KILLED = "killed"
    GONE = "gone already"
    OTHER = "became another process"
    DENIED = "not permitted"
    IN_USE = "in use again"
    LEFT = "still there"
    LOST = "not known"

    @property
    def is_gone(self) -> bool:
        """Whether the server does not exist any more."""
        return self in {Fate.ENDED, Fate.KILLED, Fate.GONE, Fate.OTHER}


class SweepVerdict(NamedTuple):
    """The fate of one chosen server."""

    pid: int
    fate: Fate


_FATES = {
    "ended": Fate.ENDED,
    "killed": Fate.KILLED,
    "gone": Fate.GONE,
    "other": Fate.OTHER,
    "denied": Fate.DENIED,
    "used": Fate.IN_USE,
    "left": Fate.LEFT,
}


def orders(chosen: Iterable[tuple[MoshServer, EndMethod]], grace: int = GRACE) -> tuple[str, ...]:
    """Return the script's input, line by line; `grace` is the time from SIGTERM to SIGKILL in seconds."""
    lines = [f"{server.pid} {how.value} {server.start}" for server, how in chosen]
    return (str(grace), str(len(lines)), *lines)


def read(line: str) -> SweepVerdict | None:
    """Read a line of the script's output; return None if it is not about a server's fate."""
    found = re.fullmatch(r"fate ([0-9]{1,9}) ([a-z]+)", line)
    fate = _FATES.get(found[2]) if found else None
    return None if found is None or fate is None else SweepVerdict(int(found[1]), fate)
