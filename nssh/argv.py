"""Reading command lines: nssh's own options, and ssh's behind them, by ssh's rules (ssh(1), getopt with a second pass)."""

from __future__ import annotations

from typing import NamedTuple

from nssh.errors import UsageError

# OpenSSH 9.2 to 10, ssh.c: options without and with an argument.
_FLAGS = frozenset("1246AaCfGgKkMNnqsTtVvXxYy")
_VALUED = frozenset("BbcDEeFIiJLlmOoPpQRSWw")

# These ask ssh for something else than a session: nssh has nothing to add and steps aside.
_NO_SESSION = frozenset("fGNOQVW")

COMMANDS = ("infect", "status", "sweep", "doctor", "relay")

USAGE = """\
usage: nssh [--ssh|--mosh] [--new] <host> [ssh arguments]
       nssh infect [--force|--remove] <host>|self
       nssh status [--json|--tail]
       nssh --version | --help"""


class SshArguments(NamedTuple):
    """A command line of ssh, taken apart."""

    options: tuple[str, ...]
    """Options with their arguments, as typed."""
    destination: str
    command: tuple[str, ...]
    letters: frozenset[str]
    """The letters of the options given."""

    @property
    def wants_no_session(self) -> bool:
        """Whether this is for ssh alone (-N, -W, -O, -G, -f, …)."""
        return bool(self.letters & _NO_SESSION)


class Connect(NamedTuple):
    """`nssh <host>`."""

    mode: str
    """`ssh`, `mosh`, or `` for whichever both sides have."""
    fresh: bool
    """`--new`: a fresh topic."""
    ssh: SshArguments


def parse_ssh(arguments: list[str]) -> SshArguments:
    """Take ssh's arguments apart: options may stand before and after the destination, the command ends them.

    Raises:
        UsageError: There is no destination, or an option lacks its argument.
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
                destination = word
                continue
            position -= word != "--"
            break
        options.append(word)
        for index, letter in enumerate(word[1:], 1):
            letters.add(letter)
            if letter not in _VALUED:
                continue
            if index == len(word) - 1:
                if position == len(arguments):
                    raise UsageError(f"option -{letter} needs an argument\n{USAGE}")
                options.append(arguments[position])
                position += 1
            break
    if not destination:
        if not letters & set("VQ"):
            raise UsageError(f"no host given\n{USAGE}")
    elif destination.startswith("-"):
        raise UsageError(f"a host can't begin with '-': {destination}")
    return SshArguments(tuple(options), destination, tuple(arguments[position:]), frozenset(letters))


def parse_connect(arguments: list[str]) -> Connect:
    """Read the arguments of `nssh <host>`; our own options stand before the host.

    Raises:
        UsageError: An option is unknown or contradicts another, or there is no host.
    """
    own: set[str] = set()
    rest = list(arguments)
    while rest and rest[0].startswith("--") and rest[0] != "--":
        option = rest.pop(0)
        if option not in {"--ssh", "--mosh", "--new"}:
            raise UsageError(f"unknown option {option}\n{USAGE}")
        own.add(option)
    if {"--ssh", "--mosh"} <= own:
        raise UsageError("--ssh and --mosh contradict each other")
    mode = "ssh" if "--ssh" in own else "mosh" if "--mosh" in own else ""
    return Connect(mode, "--new" in own, parse_ssh(rest))
