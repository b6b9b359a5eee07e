"""Parse command lines: nssh's own options, then ssh's by ssh's rules (getopt, again behind the destination)."""

from __future__ import annotations

from typing import NamedTuple

from nssh.base.errors import ArgumentError, UsageError

# OpenSSH 9.2 to 10, ssh.c: options with an argument. Unknown letters are passed on, and ssh refuses them.
VALUED = frozenset("BbcDEeFIiJLlmOoPpQRSWw")

# Options that ask ssh for something other than a session: nssh hands over to ssh.
NO_SESSION = frozenset("fGNOQVW")

_MODES = ("--ssh", "--mosh")
_COLLISIONS = ("--join", "--replace", "--new")


class SshArguments(NamedTuple):
    """A parsed command line of ssh."""

    options: tuple[str, ...]
    """Options with their arguments, as typed."""
    destination: str
    command: tuple[str, ...]
    letters: frozenset[str]
    """The option letters that were given."""

    @property
    def wants_no_session(self) -> bool:
        """Whether ssh is asked for something other than a session (-N, -W, -O, -G, -f, …)."""
        return bool(self.letters & NO_SESSION)


class Connect(NamedTuple):
    """A parsed command line of `nssh <host>`."""

    mode: str
    """`ssh`, `mosh`, or empty if neither was asked for."""
    collision: str
    """What to do about a live session of the same target: `join`, `replace`, `new`, or empty if none was asked for."""
    ssh: SshArguments


def parse_ssh(arguments: list[str]) -> SshArguments:
    """Parse ssh's arguments: options may stand before and after the destination; the command ends them.

    Raises:
        UsageError: There is no destination, an option lacks its argument, or an option begins with two dashes.
    """
    options: list[str] = []
    letters: set[str] = set()
    destination = ""
    position = 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if word == "--" and not destination and position < len(arguments):
            destination, position = arguments[position], position + 1
            break
        if word == "--" or not word.startswith("-") or word == "-":
            if not destination and word != "--":
                if not word:
                    # A script's `nssh "$HOST" uptime` with HOST unset must not connect to a host "uptime".
                    raise ArgumentError("the host is an empty word")
                destination = word
                continue
            position -= word != "--"
            break
        options.append(word)
        if (lacking := read_cluster(word, letters)) is not None:
            if position == len(arguments):
                raise ArgumentError(f"option -{lacking} needs an argument")
            options.append(arguments[position])
            position += 1
    if not destination:
        if not letters & set("VQ"):
            raise ArgumentError("no host given")
    elif destination.startswith("-"):
        raise UsageError(f"a host can't begin with '-': {destination}")
    return SshArguments(tuple(options), destination, tuple(arguments[position:]), frozenset(letters))


def read_cluster(word: str, letters: set[str]) -> str | None:
    """Add the option letters of `word` to `letters`; return the letter whose argument is the next word, or None."""
    if word.startswith("--"):
        raise ArgumentError(f"unknown option {word} (nssh's own stand before the host and ssh's options)")
    for index, letter in enumerate(word[1:], 1):
        letters.add(letter)
        if letter in VALUED:
            return letter if index == len(word) - 1 else None
    return None


def parse_connect(arguments: list[str]) -> Connect:
    """Parse the arguments of `nssh <host>`; nssh's own options stand before the host.

    Raises:
        UsageError: An option is unknown or contradicts another, or there is no host.
    """
    own: set[str] = set()
    rest = list(arguments)
    while rest and rest[0].startswith("--") and rest[0] != "--":
        option = rest.pop(0)
        if option not in {*_MODES, *_COLLISIONS}:
            raise ArgumentError(f"unknown option {option}")
        own.add(option)
    return Connect(_one_of(_MODES, own), _one_of(_COLLISIONS, own), parse_ssh(rest))


def _one_of(options: tuple[str, ...], given: set[str]) -> str:
    """Return which of these exclusive options was given, without its dashes; empty if none was."""
    found = [option for option in options if option in given]
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found)} contradict each other")
    return found[0][2:] if found else ""
