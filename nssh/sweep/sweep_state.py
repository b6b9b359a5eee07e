"""Keeps the state of one sweep: its hosts, what they have answered, which servers were chosen and ended. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.sweep import server_choice
from nssh.sweep.child_messages import End, Failed, Finished, Judged, Listed
from nssh.sweep.end_servers import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.ssh.identity import Target
    from nssh.sweep.child_messages import News
    from nssh.sweep.end_servers import EndMethod
    from nssh.sweep.mosh_servers import Listing, MoshServer
    from nssh.sweep.own_mosh import OwnMosh
    from nssh.sweep.sweep_options import SweepOptions


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
    """A host of the command line.

    Attributes:
        name: Its name on the command line.
        key: Its identity, see `nssh.ssh.identity.Target.key`.
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
        return [entry for entry in self.entries if entry.chosen and entry.fate is None]


class SweepState:
    """All hosts of one sweep.

    Attributes:
        hosts: In the order of the command line.
        targets: The hosts that ssh knows. Messages of the child name a host by its index in this tuple.
    """

    def __init__(self, options: SweepOptions, resolved: Sequence[tuple[str, Target | str]]) -> None:
        """Begin with no host answered.

        Args:
            options: The command line of `nssh sweep`.
            resolved: Each host's name, with its target, or with the reason why `ssh -G` gave none. Two names of one
                target are one host.
        """
        self.options = options
        self.hosts: list[SweptHost] = []
        self._asked: list[SweptHost] = []
        targets: list[Target] = []
        for name, target in resolved:
            if isinstance(target, str):
                self.hosts.append(SweptHost(name, error=target))
            elif target.key not in {host.key for host in self._asked}:
                host = SweptHost(name, target.key)
                targets.append(target)
                self._asked.append(host)
                self.hosts.append(host)
        self.targets = tuple(targets)

    @property
    def entries(self) -> list[ServerEntry]:
        """All servers, oldest first."""
        found = [entry for host in self.hosts for entry in host.entries]
        return sorted(found, key=lambda entry: -entry.server.age)

    @property
    def succeeded(self) -> bool:
        """Whether every host answered, and every chosen server is gone."""
        if any(host.error for host in self.hosts):
            return False
        chosen = [entry for entry in self.entries if entry.chosen]
        return self.options.dry_run or all(entry.fate is not None and entry.fate.is_gone for entry in chosen)

    def by_flags(self, host: SweptHost) -> list[ServerEntry]:
        """Return the servers of a host that the options choose and that are not spared."""
        return [entry for entry in host.entries if entry.wanted and not entry.spared]

    def choose(self, entries: Sequence[ServerEntry]) -> list[End]:
        """Mark servers as chosen, and return the orders for the child; with `--dry-run` there are none."""
        orders = []
        for number, host in enumerate(self._asked):
            chosen = [entry for entry in entries if entry.host is host]
            for entry in chosen:
                entry.chosen = True
            if chosen and not self.options.dry_run:
                host.busy = True
                orders.append(End(number, tuple((entry.server, self._how(entry)) for entry in chosen)))
        return orders

    def _how(self, entry: ServerEntry) -> EndMethod:
        return server_choice.how(entry.server, unused=self.options.detached, picked=not self.options.chooses)

    def hear(self, news: News, mine: OwnMosh) -> tuple[SweptHost, list[ServerEntry]]:
        """Take a message of the child; return its host, and the servers whose fate became known."""
        host = self._asked[news.host]
        judged: list[ServerEntry] = []
        match news:
            case Listed(_, listing):
                self._list(host, listing, mine)
            case Judged(_, verdict):
                judged = [entry for entry in host.unjudged if entry.server.pid == verdict.pid]
                for entry in judged:
                    entry.fate = verdict.fate
            case Finished() | Failed():
                judged = host.unjudged  # their fate will not be told any more
                for entry in judged:
                    entry.fate = Fate.LOST
                host.answered, host.busy = True, False
                if isinstance(news, Failed):
                    host.error = news.reason
        return host, judged

    def give_up(self, reason: str) -> list[Failed]:
        """Return a `Failed` message for each host that still owes an answer; `reason` follows the host's name."""
        owing = ((number, host) for number, host in enumerate(self._asked) if host.busy or not host.answered)
        return [Failed(number, f"{host.name}: {reason}") for number, host in owing]

    def _list(self, host: SweptHost, listing: Listing, mine: OwnMosh) -> None:
        host.answered = True
        for server in listing.servers:
            wanted = server_choice.chosen(server, self.options)
            spared = server_choice.spared(server, listing, host.key, mine, self.options)
            host.entries.append(ServerEntry(host, server, wanted=wanted, spared=spared))
