"""Keeps what is known of one host in a sweep: its servers, which of them were chosen, what became of them. No I/O."""

from __future__ import annotations

from nssh.mosh import server_choice
from nssh.mosh.end_servers import Fate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from nssh.mosh.end_servers import EndMethod, SweepVerdict
    from nssh.mosh.mosh_servers import Listing, MoshServer
    from nssh.mosh.own_mosh import OwnMosh
    from nssh.mosh.server_choice import Choice


class ServerEntry:
    """A listed server.

    Attributes:
        wanted: Whether the options choose it.
        spared: Why it must not be ended, even if it is chosen; empty if it may be.
        chosen: Whether it is to be ended.
        fate: What became of it; None if it is not chosen, or not known yet.
    """

    def __init__(self, host: SweptHost, server: MoshServer, *, wanted: bool, spared: str) -> None:
        self.host = host
        self.server = server
        self.wanted = wanted
        self.spared = spared
        self.chosen = False
        self.fate: Fate | None = None


class SweptHost:
    """A host that is swept.

    Attributes:
        name: Its name on the command line.
        key: Its identity, see `nssh.ssh.identity.Target.key`; empty for the machine that this runs on.
        error: Why it could not be swept; empty if it could.
        answered: Whether its servers are listed, or can't be.
        busy: Whether it has been ordered to end servers and has not finished.
        entries: Its servers, oldest first.
    """

    def __init__(self, name: str, key: str = "", error: str = "") -> None:
        self.name = name
        self.key = key
        self.error = error
        self.answered = bool(error)
        self.busy = False
        self.entries: list[ServerEntry] = []

    @property
    def unjudged(self) -> list[ServerEntry]:
        """The chosen servers whose fate is not known yet."""
        return [entry for entry in self.chosen_ones if entry.fate is None]

    @property
    def chosen_ones(self) -> list[ServerEntry]:
        """The chosen servers."""
        return [entry for entry in self.entries if entry.chosen]

    def take(self, listing: Listing, mine: OwnMosh, choice: Choice) -> None:
        """Take the list of the host's servers."""
        self.answered = True
        for server in listing.servers:
            wanted = server_choice.chosen(server, choice)
            spared = server_choice.spared(server, listing, self.key, mine, choice)
            self.entries.append(ServerEntry(self, server, wanted=wanted, spared=spared))

    def by_flags(self) -> list[ServerEntry]:
        """Return the servers that the options choose and that are not spared."""
        return [entry for entry in self.entries if entry.wanted and not entry.spared]

    def judge(self, verdict: SweepVerdict) -> list[ServerEntry]:
        """Note what became of a chosen server; return it, if its fate was not known yet."""
        judged = [entry for entry in self.unjudged if entry.server.pid == verdict.pid]
        for entry in judged:
            entry.fate = verdict.fate
        return judged

    def lose(self) -> list[ServerEntry]:
        """Note that the fates which are not known yet never will be; return those servers."""
        lost = self.unjudged
        for entry in lost:
            entry.fate = Fate.LOST
        return lost

    def succeeded(self, *, dry_run: bool) -> bool:
        """Return whether it has answered, and every chosen server is gone (with `dry_run`: would be)."""
        if self.error:
            return False
        return dry_run or all(entry.fate is not None and entry.fate.is_gone for entry in self.chosen_ones)


def choose(entries: Iterable[ServerEntry], choice: Choice) -> tuple[tuple[MoshServer, EndMethod], ...]:
    """Mark servers as chosen, and return them, each with how to end it."""
    chosen = []
    for entry in entries:
        entry.chosen = True
        how = server_choice.how(entry.server, unused=choice.detached, picked=not choice.chooses)
        chosen.append((entry.server, how))
    return tuple(chosen)
