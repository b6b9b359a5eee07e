"""The command line of `nssh sweep`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from nssh.base.durations import parse_duration
from nssh.base.errors import UsageError
from nssh.ssh import argv

_FLAGS = ("--all", "--detached", "--include-mine", "--dry-run", "--json", "--yes")
_VALUED = ("--older", "--min-age", "--timeout")

MIN_AGE = 60.0
TIMEOUT = 20.0


class Wish(NamedTuple):
    """What the user wants to be swept, and how."""

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


def parse(arguments: list[str]) -> Wish:
    """Read the arguments of `nssh sweep`: hosts, our own options (long ones) and ssh's, in any order.

    Raises:
        UsageError: They make no sense.
    """
    rest = list(arguments)
    hosts: list[str] = []
    ssh: list[str] = []
    letters: set[str] = set()
    given: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        if word == "--":
            hosts += rest
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in _VALUED:
                if not equals and not rest:
                    raise UsageError(f"{name} needs a duration, like 24h or 7d")
                given[name] = value if equals else rest.pop(0)
            elif name in _FLAGS and not equals:
                given[name] = ""
            else:
                raise _unknown(word)
        elif word.startswith("-") and word != "-":
            ssh.append(word)
            if (lacking := argv.read_cluster(word, letters)) is not None:
                if not rest:
                    raise UsageError(f"option -{lacking} needs an argument")
                ssh.append(rest.pop(0))
        else:
            hosts.append(word)
    if letters & argv.NO_SESSION:
        raise UsageError(f"nssh sweep can't be given ssh's -{min(letters & argv.NO_SESSION)}")
    return _checked(hosts, ssh, given)


def _unknown(word: str) -> UsageError:
    name = word.partition("=")[0]
    if name in _FLAGS:
        return UsageError(f"{name} takes no value")
    near = get_close_matches(name, (*_FLAGS, *_VALUED), 1)
    return UsageError(f"unknown option {word}; {f'is it {near[0]}?' if near else 'nssh sweep --help lists them'}")


def _checked(hosts: list[str], ssh: list[str], given: dict[str, str]) -> Wish:
    seconds: dict[str, float] = {}
    for name in _VALUED:
        if name in given:
            try:
                seconds[name] = parse_duration(given[name])
            except ValueError as error:
                raise UsageError(f"{name}: {error}") from None
    if seconds.get("--timeout") == 0:
        raise UsageError("--timeout: 0 leaves no time to connect")
    if not hosts:
        raise UsageError("nssh sweep needs a host, as in: nssh sweep --dry-run devbox")
    for host in hosts:
        if not host:
            raise UsageError("a host is an empty word")
        if host.startswith("-"):
            raise UsageError(f"a host can't begin with '-': {host}")
    for other in ("--older", "--detached"):
        if "--all" in given and other in given:
            raise UsageError(f"--all and {other} contradict each other: --all chooses all")
    return Wish(
        hosts=tuple(hosts),
        ssh_options=tuple(ssh),
        every="--all" in given,
        older=seconds.get("--older"),
        detached="--detached" in given,
        include_mine="--include-mine" in given,
        min_age=seconds.get("--min-age", MIN_AGE),
        timeout=seconds.get("--timeout", TIMEOUT),
        dry_run="--dry-run" in given,
        json="--json" in given,
        yes="--yes" in given,
    )
