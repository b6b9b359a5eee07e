"""The command lines of commands about hosts: their own options, which are long, and ssh's, before or behind the hosts.

By argparse. What `nssh <host>` is given is read by `nssh.ssh.argv`, as ssh itself would.
"""

from __future__ import annotations

import argparse
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any

from nssh.base.arguments import Parser
from nssh.ssh import argv

if TYPE_CHECKING:
    from collections.abc import Sequence


class HostParser(Parser):
    """Reads the options of one command and ssh's; the latter are `ssh_options` of the result, as a tuple of words."""

    def __init__(self, usage: str, description: str, epilog: str = "") -> None:
        """Take the texts of the help."""
        super().__init__(usage, description, epilog)
        # All letters: one that is no option is for ssh to refuse.
        for letter in ascii_letters + digits:
            self.add_argument(
                f"-{letter}",
                action=_SshOption,
                nargs=None if letter in argv.VALUED else 0,
                dest="ssh_options",
                default=(),
                help=argparse.SUPPRESS,
            )

    def read_hosts(self, words: list[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
        """Return the options, and the hosts.

        Raises:
            ArgumentError: They make no sense.
        """
        given, hosts = self.read(words)
        for host in hosts:
            if not host:
                # As in a script's `nssh sweep "$HOST"` with HOST unset.
                self.error("the host is an empty word")
            if host.startswith("-"):
                self.error(f"a host can't begin with '-': {host}")
        return given, tuple(hosts)

    def read_host(self, words: list[str]) -> tuple[argparse.Namespace, str]:
        """Return the options, and the one host.

        Raises:
            ArgumentError: They make no sense, or there is no host or another one.
        """
        given, hosts = self.read_hosts(words)
        if len(hosts) != 1:
            self.error(f"{self.prog} takes one host" if hosts else "no host given")
        return given, hosts[0]


class _SshOption(argparse.Action):
    """Collects options of ssh's with their values."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        option = str(option_string)
        if option[1] in argv.NO_SESSION:
            parser.error(f"{parser.prog} can't be given ssh's {option}")
        value = (values,) if isinstance(values, str) else ()
        namespace.ssh_options = (*namespace.ssh_options, option, *value)
