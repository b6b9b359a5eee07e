"""The command line of `nssh doctor`."""

from __future__ import annotations

from typing import NamedTuple

from nssh.base.durations import parse_duration
from nssh.base.errors import ArgumentError, UsageError
from nssh.ssh import argv

TIMEOUT = 20.0


class Wish(NamedTuple):
    """Whom the user wants to be examined, and how."""

    host: str
    ssh_options: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    """Seconds for connecting, and for each step behind it."""
    json: bool = False


def parse(arguments: list[str]) -> Wish:
    """Read the arguments of `nssh doctor`: our own options (long ones) and ssh's, in any order.

    Raises:
        UsageError: They make no sense.
    """
    words, rest = list(arguments), []
    timeout, as_json = TIMEOUT, False
    while words and words[0] != "--":
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            rest.append(word)
        elif word == "--json":
            as_json = True
        elif name == "--timeout":
            if not equals and not words:
                raise ArgumentError("--timeout needs a duration")
            timeout = _seconds(value if equals else words.pop(0))
        else:
            raise ArgumentError(f"unknown option {word}")
    ssh = argv.parse_ssh(rest + words)
    if not ssh.destination or ssh.command:
        raise ArgumentError("nssh doctor takes one host")
    if ssh.wants_no_session:
        raise ArgumentError(f"nssh doctor can't be given -{min(ssh.letters & argv.NO_SESSION)}")
    return Wish(ssh.destination, ssh.options, timeout, as_json)


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None
    if not seconds:
        raise UsageError("--timeout: 0 leaves no time to connect")
    return seconds
