"""The command lines of `nssh infect`, `status`, `copy` and `paste`."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import NamedTuple

from nssh.base.arguments import Parser, duration
from nssh.ssh.host_arguments import HostParser


class InfectOptions(NamedTuple):
    """The options of `nssh infect`."""

    host: str
    ssh_options: tuple[str, ...]
    force: bool
    remove: bool


class StatusOptions(NamedTuple):
    """The options of `nssh status`."""

    json: bool
    held: bool
    open_held: bool
    tail: bool
    since: float | None
    """How far back `--tail` begins, in seconds; None if it is not given."""


class ClipOptions(NamedTuple):
    """The options of `nssh copy` and `nssh paste`."""

    type: str
    """The MIME type; empty if it is not given."""
    files: tuple[str, ...] = ()
    file: bool = False
    list: bool = False


def infect_parser() -> HostParser:
    """Return the parser of `nssh infect`; its results have the names of `InfectOptions`."""
    parser = HostParser(
        "nssh infect [--force] <host> [ssh options]\n       nssh infect --remove <host> [ssh options]",
        """\
Installs the remote side, or a newer one: xclip, wl-copy, xdg-open and the like
in ~/.local/bin there, which talk to the machine that you sit at. It takes
python3 (3.8 or newer) and no root. `self` in place of <host>: this machine.""",
    )
    option = parser.add_argument_group().add_argument
    option("--force", action="store_true",
           help="also over files of yours (they are kept, and come back with --remove), and on a machine with a "
                "desktop of its own")  # fmt: skip
    option("--remove", action="store_true", help="take everything away again")
    return parser


def status_parser() -> Parser:
    """Return the parser of `nssh status`; its results have the names of `StatusOptions`."""
    parser = Parser(
        "nssh status [--json | --held | --open-held]\n       nssh status --tail [--since DUR] [--json]",
        "Shows the live sessions of this machine: transport, bus, restarts, and whether\neach answers.",
    )
    option = parser.add_argument_group().add_argument
    option("--json", action="store_true", help="the same for scripts")
    option("--held", action="store_true",
           help="list the URLs that came too late, or too many at once, to open, and those found on a topic that was "
                "another program's")  # fmt: skip
    option("--open-held", action="store_true", help="open the held ones, not the found ones")
    option("-t", "--tail", action="store_true", help="show events as they happen, until Ctrl-C (--json: JSON lines)")
    option("--since", type=duration, metavar="DUR", help="begin so long ago: 90s, 10m, 2h, 1d")
    return parser


def copy_parser() -> Parser:
    """Return the parser of `nssh copy`; its results have the names of `ClipOptions`."""
    parser = Parser(
        "nssh copy [-t TYPE] [FILE...]",
        "Puts the files, or standard input, on the clipboard: on a remote, that of the\nmachine you sit at.",
    )
    option = parser.add_argument_group().add_argument
    option("-t", dest="type", default="", metavar="TYPE",
           help="what it is (text/html, image/png); else its beginning tells")  # fmt: skip
    option("--type", dest="type", help=SUPPRESS)
    return parser


def paste_parser() -> Parser:
    """Return the parser of `nssh paste`; its results have the names of `ClipOptions`."""
    parser = Parser(
        "nssh paste [-t TYPE] [--file | --list]",
        "Prints the clipboard: on a remote, that of the machine you sit at.",
    )
    option = parser.add_argument_group().add_argument
    option("-t", dest="type", default="", metavar="TYPE",
           help="as that type: text/html, image/png, or image for any image")  # fmt: skip
    option("--file", action="store_true", help="put its image into a private file, and print the path")
    option("--list", action="store_true", help="print which types there are")
    for letter, name in (("-f", "file"), ("-l", "list")):
        option(letter, dest=name, action="store_true", help=SUPPRESS)
    option("--type", dest="type", help=SUPPRESS)
    return parser


def parse_infect(arguments: list[str]) -> InfectOptions:
    """Read the arguments of `nssh infect`.

    Raises:
        ArgumentError: The arguments are wrong.
    """
    parser = infect_parser()
    given, host = parser.read_host(arguments)
    if given.force and given.remove:
        parser.error("nssh infect takes one of --force and --remove")
    return InfectOptions(host, **vars(given))


def parse_status(arguments: list[str]) -> StatusOptions:
    """Read the arguments of `nssh status`.

    Raises:
        ArgumentError: The arguments are wrong.
    """
    parser = status_parser()
    given, words = parser.read(arguments)
    status = StatusOptions(**vars(given))
    if words:
        parser.error(f"nssh status shows all sessions; it does not take {words[0]}")
    if status.held + status.open_held + (status.tail or status.json) > 1:
        parser.error("nssh status takes at most one of --json, --tail, --held and --open-held")
    if status.since is not None and not status.tail:
        parser.error("--since is for nssh status --tail")
    return status


def parse_copy(arguments: list[str]) -> ClipOptions:
    """Read the arguments of `nssh copy`.

    Raises:
        ArgumentError: The arguments are wrong.
    """
    given, files = copy_parser().read(arguments)
    return ClipOptions(given.type, tuple(files))


def parse_paste(arguments: list[str]) -> ClipOptions:
    """Read the arguments of `nssh paste`.

    Raises:
        ArgumentError: The arguments are wrong.
    """
    parser = paste_parser()
    given, words = parser.read(arguments)
    if words:
        parser.error(f"nssh paste does not take {words[0]}")
    return ClipOptions(**vars(given))
