"""Resolve a target: what `ssh -G` makes of the words the user typed. Standard library only, on the way to ssh."""

from __future__ import annotations

import os
from typing import NamedTuple

from nssh.base import spawn
from nssh.base.errors import ConnectError

_OUTPUT_LIMIT = 1 << 20  # bytes of `ssh -G`; a long configuration makes a few thousand


class Target(NamedTuple):
    """A destination, and the configuration with which ssh would connect to it."""

    destination: str
    """As typed: a host alias, user@host, ssh://…"""
    ssh: tuple[str, ...]
    """The ssh command, for example `("ssh", "-F", "file")`."""
    options: tuple[str, ...]
    """The user's own ssh options."""
    config: dict[str, list[str]]
    """The output of `ssh -G`: lower-case keys, values in order."""

    def first(self, key: str, default: str = "") -> str:
        """Return the first value that `ssh -G` reports for a key (lower case), or `default`."""
        return next(iter(self.config.get(key, ())), default)

    @property
    def hostname(self) -> str:
        """The resolved full name or address, lower case."""
        return self.first("hostname", self.destination).lower()

    @property
    def short_name(self) -> str:
        """The first label of `hostname`."""
        return self.hostname.partition(".")[0]

    @property
    def user(self) -> str:
        """The user to log in as."""
        return self.first("user")

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.first("port", "22"))

    @property
    def jump(self) -> str:
        """The value of ProxyJump; empty if there is none."""
        value = self.first("proxyjump")
        return "" if value == "none" else value

    @property
    def proxied(self) -> bool:
        """Whether ssh reaches the host through jump hosts or a ProxyCommand."""
        return bool(self.jump) or self.first("proxycommand", "none") != "none"

    @property
    def host_key_alias(self) -> str:
        """The value of HostKeyAlias; empty if there is none."""
        value = self.first("hostkeyalias")
        return "" if value == "none" else value

    @property
    def control_path(self) -> str:
        """The user's own ControlPath; empty if none is configured."""
        value = self.first("controlpath")
        return "" if value == "none" else os.path.expanduser(value)

    @property
    def key(self) -> str:
        """The key of a session's target: user@hostname:port, with jump hosts and host key alias where they are set."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        key = f"{self.user}@{host}:{self.port}"
        if self.jump:
            key += f" via {_lower_hosts(self.jump)}"
        elif self.proxied:
            key += f" via {self.first('proxycommand')}"
        if self.host_key_alias:
            key += f" as {self.host_key_alias.lower()}"
        return key


def parse_config(output: str) -> dict[str, list[str]]:
    """Parse the output of `ssh -G`: on each line a keyword, a space, and the value."""
    config: dict[str, list[str]] = {}
    # Not splitlines: a value may hold a form feed or U+2028, which would end a line there.
    for line in output.split("\n"):
        if line:
            keyword, _, value = line.partition(" ")
            config.setdefault(keyword.lower(), []).append(value)
    return config


def _lower_hosts(jump: str) -> str:
    """Return a jump chain with its hosts in lower case; the case of users counts."""
    hops = (hop.rpartition("@") for hop in jump.split(","))
    return ",".join(f"{user}{at}{host.lower()}" for user, at, host in hops)


class Pending(NamedTuple):
    """A running `ssh -G`."""

    destination: str
    ssh: tuple[str, ...]
    options: tuple[str, ...]
    running: spawn.Running

    def target(self) -> Target:
        """Wait for the end of `ssh -G`, and return the target.

        Raises:
            ConnectError: ssh refuses the arguments; the text is its last line.
        """
        status, output = self.running.finish(_OUTPUT_LIMIT)
        text = output.decode("utf-8", "replace")
        if status:
            reason = (text.strip().splitlines() or [f"exit status {status}"])[-1]
            raise ConnectError(f"{self.destination}: {reason}", "resolve")
        return Target(self.destination, self.ssh, self.options, parse_config(text))


def ask(ssh: tuple[str, ...], destination: str, options: tuple[str, ...] = ()) -> Pending:
    """Start `ssh -G` for a destination and return without waiting for it.

    Its output is never cached: it depends on more than the files that ssh reads (`Match exec` and `localnetwork`, the
    environment, name resolution), and a wrong target would send a user's data to another host.

    Raises:
        ConnectError: ssh is missing.
    """
    try:
        running = spawn.begin([*ssh, "-G", *options, "--", destination], merge_stderr=True)
    except FileNotFoundError:
        raise ConnectError(f"{ssh[0]}: no such program; install the OpenSSH client") from None
    return Pending(destination, ssh, options, running)


def resolve(ssh: tuple[str, ...], destination: str, options: tuple[str, ...] = ()) -> Target:
    """Run `ssh -G` for a destination, and return the target.

    Raises:
        ConnectError: ssh is missing or refuses the arguments; the text is ssh's last line.
    """
    return ask(ssh, destination, options).target()
