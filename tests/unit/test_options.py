"""The command lines of `nssh infect`, `status`, `copy` and `paste`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import ArgumentError
from nssh.cli.command_options import (
    ClipOptions,
    InfectOptions,
    StatusOptions,
    parse_copy,
    parse_infect,
    parse_paste,
    parse_status,
)
from nssh.remote import nssh_copy_paste
from nssh.remote.options import BadOption, parse_gnu

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = StatusOptions(json=False, held=False, open_held=False, tail=False, since=None)


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ("devbox", InfectOptions("devbox", (), force=False, remove=False)),
        ("self --force", InfectOptions("self", (), force=True, remove=False)),
        ("--remove -p 22 me@a -i key", InfectOptions("me@a", ("-p", "22", "-i", "key"), force=False, remove=True)),
    ],
)
def test_infect(words: str, wish: InfectOptions) -> None:
    assert parse_infect(words.split()) == wish


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ("", NOTHING),
        ("--json", NOTHING._replace(json=True)),
        ("--held", NOTHING._replace(held=True)),
        ("--open-held", NOTHING._replace(open_held=True)),
        ("--tail", NOTHING._replace(tail=True)),
        ("--tail --json --since 10m", NOTHING._replace(tail=True, json=True, since=600.0)),
        ("-t", NOTHING._replace(tail=True)),
        ("--json -t --since 1m500ms", NOTHING._replace(tail=True, json=True, since=60.5)),
        ("--since=1d --tail", NOTHING._replace(tail=True, since=86400.0)),
    ],
)
def test_status(words: str, wish: StatusOptions) -> None:
    assert parse_status(words.split()) == wish


@pytest.mark.parametrize(
    ("parse", "words", "reason"),
    [
        (parse_infect, "", "no host given"),
        (parse_infect, "a b", "nssh infect takes one host"),
        (parse_infect, "--force a --remove", "one of --force and --remove"),
        (parse_infect, "--froce a", "unknown option --froce; did you mean --force\\?"),
        (parse_infect, "-N a", "nssh infect can't be given ssh's -N"),
        (parse_status, "devbox", "nssh status shows all sessions; it does not take devbox"),
        (parse_status, "-x", "unknown option -x"),
        (parse_status, "--open", "unknown option --open"),
        (parse_status, "--json --held", "at most one"),
        (parse_status, "--tail --held", "at most one"),
        (parse_status, "-t --open-held", "at most one"),
        (parse_status, "--tial", "did you mean --tail"),
        (parse_status, "--held --open-held", "at most one"),
        (parse_status, "--since 10m", "--since is for nssh status --tail"),
        (parse_status, "--tail --since", "--since needs a value"),
        (parse_status, "--tail --since=", "--since: '' is not a duration"),
        (parse_copy, "--file", "unknown option --file"),
        (parse_copy, "-t", "-t needs a value"),
        (parse_paste, "x", "nssh paste does not take x"),
        (parse_paste, "--lsit", "unknown option --lsit; did you mean --list\\?"),
    ],
)
def test_what_is_refused(parse: Callable[[list[str]], object], words: str, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        parse(words.split())


def test_an_empty_host_is_a_scripts_mistake() -> None:
    with pytest.raises(ArgumentError, match="empty word"):
        parse_infect([""])


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ("copy", ClipOptions("")),
        ("copy a - b", ClipOptions("", ("a", "-", "b"))),
        ("copy a -t text/html b", ClipOptions("text/html", ("a", "b"))),
        ("copy -ttext/html", ClipOptions("text/html")),
        ("copy --type text/html", ClipOptions("text/html")),
        ("copy --type=text/html -- -a --file", ClipOptions("text/html", ("-a", "--file"))),
        ("paste", ClipOptions("")),
        ("paste --file", ClipOptions("", file=True)),
        ("paste -f", ClipOptions("", file=True)),
        ("paste --list", ClipOptions("", list=True)),
        ("paste -lt image", ClipOptions("image", list=True)),
        ("paste -t image/png -t image", ClipOptions("image")),
        ("paste -x", None),
        ("paste --file=x", None),
        ("copy --typo", None),
    ],
)
def test_copy_and_paste_are_read_here_as_on_a_remote(words: str, wish: ClipOptions | None) -> None:
    command, *arguments = words.split()
    parse = parse_copy if command == "copy" else parse_paste
    if wish is None:
        with pytest.raises(ArgumentError):
            parse(arguments)
        with pytest.raises(BadOption):
            parse_gnu(arguments, nssh_copy_paste.OPTIONS)
        return
    assert parse(arguments) == wish
    there = parse_gnu(arguments, nssh_copy_paste.OPTIONS)
    assert ClipOptions(there.get("type"), tuple(there.words), "file" in there, "list" in there) == wish
