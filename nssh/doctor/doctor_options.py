"""The command line of `nssh doctor`."""

from __future__ import annotations

from typing import NamedTuple

from nssh.base.arguments import timeout
from nssh.ssh.host_arguments import HostParser

TIMEOUT = 20.0


class DoctorOptions(NamedTuple):
    """The options of `nssh doctor`."""

    host: str
    ssh_options: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    """Seconds for the login, and for each further step."""
    json: bool = False


def parser() -> HostParser:
    """Return the parser of `nssh doctor`; its results have the names of `DoctorOptions`."""
    parser = HostParser(
        "nssh doctor [--json] [--timeout DUR] <host> [ssh options]",
        """\
Tries every step from here to the programs on the remote and back, and says of
each whether it works, or what to do. It changes nothing, and asks for no
password: where one is needed, connect with nssh <host> first.""",
        "Exit status: 0 nothing is wrong, 1 something is.",
    )
    option = parser.add_argument_group().add_argument
    option("--json", action="store_true", help="the same for scripts")
    option("--timeout", type=timeout, default=TIMEOUT, metavar="DUR",
           help=f"for connecting, and for each step (default {TIMEOUT:.0f}s)")  # fmt: skip
    return parser


def parse(arguments: list[str]) -> DoctorOptions:
    """Read the arguments of `nssh doctor`: our own options (long ones) and ssh's, in any order.

    Raises:
        UsageError: The arguments are wrong.
    """
    given, host = parser().read_host(arguments)
    return DoctorOptions(host, **vars(given))
