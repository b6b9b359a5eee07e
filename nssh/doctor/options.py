"""The command line of `nssh doctor`."""

from __future__ import annotations

from typing import NamedTuple

from nssh import argv
from nssh.durations import parse_duration
from nssh.errors import UsageError

TIMEOUT = 20.0


class Wish(NamedTuple):
    """Whom the user wants to be examined, and how."""

    host: str
    ssh_options: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    """Seconds for connecting, and for each step behind it."""
    json: bool = False


def parse(arguments: list[str]) -> Wish:
    """Read the arguments of `nssh doctor`: our own options before the host, ssh's before and behind it.

    Raises:
        UsageError: They make no sense.
    """
    rest = list(arguments)
    timeout, as_json = TIMEOUT, False
    while rest and rest[0].startswith("--") and rest[0] != "--":
        name, equals, value = rest.pop(0).partition("=")
        if name == "--json" and not equals:
            as_json = True
        elif name == "--timeout":
            if not equals and not rest:
                raise UsageError(f"--timeout needs a duration\n{argv.USAGE}")
            timeout = _seconds(value if equals else rest.pop(0))
        else:
            raise UsageError(f"unknown option {name}\n{argv.USAGE}")
    ssh = argv.parse_ssh(rest)
    if not ssh.destination or ssh.command:
        raise UsageError(f"nssh doctor takes one host\n{argv.USAGE}")
    if ssh.wants_no_session:
        raise UsageError(f"nssh doctor can't be given -{min(ssh.letters & argv.NO_SESSION)}\n{argv.USAGE}")
    return Wish(ssh.destination, ssh.options, timeout, as_json)


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None
    if not seconds:
        raise UsageError("--timeout: 0 leaves no time to connect")
    return seconds
