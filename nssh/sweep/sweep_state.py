"""Keeps the state of one sweep: its hosts, what they have answered, which servers were chosen and ended. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.mosh.swept_host import ServerEntry, SweptHost, choose
from nssh.sweep.child_messages import End, Failed, Finished, Judged, Listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.mosh.own_mosh import OwnMosh
    from nssh.ssh.identity import Target
    from nssh.sweep.child_messages import News
    from nssh.sweep.sweep_options import SweepOptions


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
        return all(host.succeeded(dry_run=self.options.dry_run) for host in self.hosts)

    def choose(self, entries: Sequence[ServerEntry]) -> list[End]:
        """Mark servers as chosen, and return the orders for the child; with `--dry-run` there are none."""
        orders = []
        for number, host in enumerate(self._asked):
            chosen = choose((entry for entry in entries if entry.host is host), self.options)
            if chosen and not self.options.dry_run:
                host.busy = True
                orders.append(End(number, chosen))
        return orders

    def hear(self, news: News, mine: OwnMosh) -> tuple[SweptHost, list[ServerEntry]]:
        """Take a message of the child; return its host, and the servers whose fate became known."""
        host = self._asked[news.host]
        judged: list[ServerEntry] = []
        match news:
            case Listed(_, listing):
                host.take(listing, mine, self.options)
            case Judged(_, verdict):
                judged = host.judge(verdict)
            case Finished() | Failed():
                judged = host.lose()
                host.answered, host.busy = True, False
                if isinstance(news, Failed):
                    host.error = news.reason
        return host, judged

    def give_up(self, reason: str) -> list[Failed]:
        """Return a `Failed` message for each host that still owes an answer; `reason` follows the host's name."""
        owing = ((number, host) for number, host in enumerate(self._asked) if host.busy or not host.answered)
        return [Failed(number, f"{host.name}: {reason}") for number, host in owing]
