"""The script that ends chosen mosh-servers on a remote, each only if it still is the one that was listed."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple

from nssh.ssh import framing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nssh.sweep.mosh_servers import MoshServer

GRACE = 11
"""Seconds from SIGTERM to SIGKILL: mosh-server takes up to 10 to tell its client."""
LONGEST = GRACE + 10.0
"""Seconds that the script takes at most, on a machine that is not overloaded."""


class EndMethod(enum.StrEnum):
    """The way in which a server is asked to end."""

    TERM = "TERM"
    """SIGTERM, and SIGKILL for one that is still there after `GRACE`."""
    DETACHED = "DETACHED"
    """As `TERM`, but not if utmp says that its client is back."""
    UNUSED = "USR1"
    """SIGUSR1, which one that was given MOSH_SERVER_SIGNAL_TMOUT heeds only if its client is silent at that moment."""


class Fate(enum.StrEnum):
    """What became of a chosen server."""

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
        """Whether that server does not exist any more."""
        return self in {Fate.ENDED, Fate.KILLED, Fate.GONE, Fate.OTHER}


class Verdict(NamedTuple):
    """What became of one chosen server."""

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


def pack(chosen: Iterable[tuple[MoshServer, EndMethod]], grace: int = GRACE) -> framing.Script:
    """Make the script ready for these servers; `grace` is the seconds between SIGTERM and SIGKILL."""
    lines = [f"{server.pid} {how.value} {server.start}" for server, how in chosen]
    return framing.pack(framing.source(__file__, "end_servers.sh"), lines=(str(grace), str(len(lines)), *lines))


def read(line: str) -> Verdict | None:
    """Read one line of the script's answer; None if it tells of no server's fate."""
    found = re.fullmatch(r"fate ([0-9]{1,9}) ([a-z]+)", line)
    fate = _FATES.get(found[2]) if found else None
    return None if found is None or fate is None else Verdict(int(found[1]), fate)
