"""The command line of `nssh sweep`."""

from __future__ import annotations

from typing import NamedTuple

from nssh.base.arguments import age, duration, timeout
from nssh.mosh.server_choice import MIN_AGE
from nssh.ssh.host_arguments import HostParser

TIMEOUT = 20.0


class SweepOptions(NamedTuple):
    """The options of `nssh sweep`."""

    hosts: tuple[str, ...]
    ssh_options: tuple[str, ...] = ()
    """ssh's own, for all hosts."""
    every: bool = False
    """`--all`."""
    older: float | None = None
    """Seconds."""
    detached: bool = False
    include_mine: bool = False
    min_age: float = MIN_AGE
    """Seconds; a younger one may be a login under way."""
    timeout: float = TIMEOUT
    """Seconds for a host to answer."""
    dry_run: bool = False
    json: bool = False
    yes: bool = False

    @property
    def chooses(self) -> bool:
        """Whether flags say which servers are to be ended."""
        return self.every or self.detached or self.older is not None


def parser() -> HostParser:
    """Return the parser of `nssh sweep`; its results have the names of `SweepOptions`."""
    parser = HostParser(
        "nssh sweep [options] <host>... [ssh options]",
        "Lists mosh-servers that were left on the hosts, and ends those you choose: from\na list, or by",
        "Exit status: 0 all that were chosen are gone, 1 not all or a host failed.",
    )
    option = parser.add_argument_group().add_argument
    option("--all", dest="every", action="store_true", help="all of them")
    option("--older", type=age, metavar="DUR", help="those started so long ago or earlier: 90m, 24h, 7d")
    option("--detached", action="store_true", help="those that nobody is attached to; with --older both must hold")
    option = parser.add_argument_group().add_argument
    option("--dry-run", action="store_true", help="end nothing, show what would be")
    option("--yes", action="store_true", help="don't ask whether to end what these options chose")
    option("--json", action="store_true", help="print JSON; lists only, unless an option chooses")
    option("--include-mine", action="store_true", help="do not spare the servers of your own live sessions")
    option("--min-age", type=duration, default=MIN_AGE, metavar="DUR",
           help=f"spare younger ones, maybe logins under way (default {MIN_AGE:.0f}s)")  # fmt: skip
    option("--timeout", type=timeout, default=TIMEOUT, metavar="DUR",
           help=f"for a host to answer (default {TIMEOUT:.0f}s)")  # fmt: skip
    return parser


def parse(arguments: list[str]) -> SweepOptions:
    """Read the arguments of `nssh sweep`: hosts, our own options (long ones) and ssh's, in any order.

    Raises:
        UsageError: The arguments are wrong.
    """
    reader = parser()
    given, hosts = reader.read_hosts(arguments)
    wish = SweepOptions(hosts=hosts, **vars(given))
    if not hosts:
        reader.error("nssh sweep needs a host, as in: nssh sweep --dry-run devbox")
    if wish.every and (wish.older is not None or wish.detached):
        other = "--detached" if wish.older is None else "--older"
        reader.error(f"--all and {other} contradict each other: --all chooses all")
    return wish
