"""Reads command lines by argparse, with nssh's form of help and errors. Not used before ssh: its import is slow."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
from functools import partial
from typing import NoReturn

from nssh.base.durations import parse_duration
from nssh.base.errors import ArgumentError

# Patterns of argparse's errors, and the texts that replace them.
_WORDS = (
    (re.compile("argument (.*): expected one argument"), r"\1 needs a value"),
    (re.compile("argument (.*): ignored explicit argument .*", re.DOTALL), r"\1 takes no value"),
    (re.compile("argument (.*)", re.DOTALL), r"\1"),
)


class Parser(argparse.ArgumentParser):
    """Reads the options of one command, which may stand anywhere before `--`; groups of them make its help."""

    def __init__(self, usage: str, description: str, epilog: str = "") -> None:
        """Take the texts of the help; the usage begins with the command (`nssh sweep …`)."""
        super().__init__(
            prog=" ".join(usage.split()[:2]),
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=80, max_help_position=18),
            add_help=False,
            allow_abbrev=False,
        )
        self.color = False  # Python 3.14 would paint the help

    def error(self, message: str) -> NoReturn:
        """Raise ArgumentError. argparse calls this with whatever it refuses."""
        for pattern, words in _WORDS:
            if found := pattern.fullmatch(message):
                message = found.expand(words)
                break
        raise ArgumentError(message)

    def read(self, words: list[str]) -> tuple[argparse.Namespace, list[str]]:
        """Return the options, and all other words in their order.

        Raises:
            ArgumentError: An option is unknown, lacks its value, or has a wrong one.
        """
        end = words.index("--") if "--" in words else len(words)
        given, others = self.parse_known_args(words[:end])
        for word in others:
            if word.startswith("-") and word != "-":
                known = re.findall("^  (?:-[a-z], )?(--[a-z-]+)", self.format_help(), re.MULTILINE)
                near = get_close_matches(word.partition("=")[0], known, 1)
                self.error(f"unknown option {word}" + (f"; did you mean {near[0]}?" if near else ""))
        return given, others + words[end + 1 :]


def duration(text: str) -> float:
    """Return the duration in an option's value, in seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def age(text: str) -> float:
    """Return the least age in an option's value, in seconds; refuse 0, which an unset variable of a script may be."""
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError("0 would choose all; --all does that")
    return seconds


def timeout(text: str) -> float:
    """Return the timeout in an option's value, in seconds; refuse 0."""
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError("0 leaves no time to connect")
    return seconds
