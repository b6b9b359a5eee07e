"""Choosing from the list, on a terminal: real servers, and a host that tells of two hundred."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import NSSH, Laptop
from tests.lab.screen import Screen
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.sweep.support import Window, start_server, sweep, wait_ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

TITLE = "Mosh-servers to end"
BOLD = re.compile(rb"\x1b\[[0-9;]*m")

# Tells of servers 1001 to 1200, each older than the next, and ends whichever it is told to.
MANY = """#!/bin/sh
IFS= read -r n
script=$(dd bs=1 count=$n 2>/dev/null)
IFS= read -r mark
printf '\\n%s begin\\n' "$mark"
case $script in
    *grace*)
        IFS= read -r grace
        IFS= read -r count
        while [ "$count" -gt 0 ]; do
            IFS=' ' read -r pid how start
            echo "fate $pid ended"
            count=$((count - 1))
        done ;;
    *)
        printf 'now 1795481227\\ntick 90000000\\nhertz 100\\nboot abcdef01\\n'
        pid=1001
        while [ "$pid" -le 1200 ]; do
            echo "program $pid /usr/bin/mosh-server"
            echo "port $pid 1"  # nobody's client here is theirs
            echo "process $pid 1 $pid -1 - $(( (pid - 1000) * 400000 )) mosh-server"
            pid=$((pid + 1))
        done ;;
esac
printf '\\n%s end 0\\n' "$mark"
"""


@contextlib.contextmanager
def choosing(laptop: Laptop, *arguments: str, rows: int = 24, columns: int = 100, **env: str) -> Iterator[Screen]:
    environ = {**laptop.env, **env}
    with Terminal([*NSSH, "sweep", *arguments, "devbox"], environ, rows=rows, columns=columns) as window:
        screen = Screen(window, rows=rows, columns=columns)
        screen.wait(TITLE)
        yield screen
        assert window.attributes() == window.initial


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Laptop]:
    script = tmp_path / "many"
    script.write_text(MANY)
    script.chmod(0o755)
    with Sshd(options=[f"ForceCommand {script}"]) as remote:
        laptop = Laptop(remote.client)
        yield laptop
        laptop.wait_gone()
        assert laptop.tracebacks() == ""


def ended(screen: Screen) -> list[int]:
    """Return the PIDs that were ended, as shown."""
    return [int(pid) for pid in re.findall(rb"devbox +([0-9]+) [^\r\n]* ended\r\n", screen.window.output)]


def test_what_is_spared_is_shown_and_can_not_be_chosen(remote: Sshd, laptop: Laptop) -> None:
    mine, other = (start_server(remote, laptop) for _ in range(2))
    window = Window(laptop, mine)
    try:
        with choosing(laptop, "--min-age", "0") as screen:
            screen.wait("spared: a session of yours here")
            screen.window.send(f"{mine.pid}\r".encode())
            screen.wait(f"PID {mine.pid} is spared")
            screen.window.send(b"a")
            screen.wait("1 selected of 2")
            screen.window.send(b"\r")
            assert screen.window.wait() == 0
            assert ended(screen) == [other.pid]
        wait_ended(other)
        assert mine.runs
        sweep(laptop, "--all", "--include-mine", "--min-age", "0", "devbox")
    finally:
        window.close()


def test_when_all_are_spared_nothing_is_asked(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    with Terminal([*NSSH, "sweep", "devbox"], laptop.env) as window:
        assert window.wait() == 0
        assert b"spared: too young" in window.output
    assert server.runs
    sweep(laptop, "--all", "--min-age", "0", "devbox")


@pytest.mark.parametrize("keys", [b"\x03", b"\x1b", b"a\x03", b"\x04"], ids=["ctrl-c", "esc", "all-ctrl-c", "ctrl-d"])
def test_cancelling_ends_nobody(remote: Sshd, laptop: Laptop, keys: bytes) -> None:
    server = start_server(remote, laptop)
    with choosing(laptop, "--min-age", "0") as screen:
        screen.window.send(keys)
        assert screen.window.wait() == 130
        assert ended(screen) == []
    assert server.runs
    laptop.wait_gone()
    sweep(laptop, "--all", "--min-age", "0", "devbox")


def test_one_is_marked_with_the_arrows_and_chosen_with_space(many: Laptop) -> None:
    with choosing(many, rows=10) as screen:
        screen.wait("1/200")
        screen.window.send(b"\x1b[B\x1b[B \r")
        assert screen.window.wait() == 0
        assert ended(screen) == [1003]


def test_200_entries_on_10_rows(many: Laptop) -> None:
    with choosing(many, rows=10, columns=60) as screen:
        screen.wait("1001")
        assert not [line for line in screen.lines if "1100" in line]
        screen.window.send(b"1100\r")
        screen.wait("1 selected of 200")
        assert [line for line in screen.lines if "1100" in line]
        screen.window.send(b"1200\r\r")
        assert screen.window.wait() == 0
        assert sorted(ended(screen)) == [1100, 1200]


def test_those_older_than_a_day(many: Laptop) -> None:
    """The oldest is ten days and nine hours old, and each other 4000 seconds younger."""
    with choosing(many) as screen:
        screen.window.send(b"o\r")
        assert screen.window.wait() == 0
        assert sorted(ended(screen)) == [1000 + number for number in range(1, 201) if 900000 - 4000 * number > 86400]


def test_all_of_200(many: Laptop) -> None:
    with choosing(many) as screen:
        screen.window.send(b"a\r")
        assert screen.window.wait() == 0
        assert len(ended(screen)) == 200


def test_the_window_may_be_resized(many: Laptop) -> None:
    with choosing(many, rows=10, columns=60) as screen:
        screen.wait("1/200")
        for rows, columns in ((4, 20), (40, 120), (2, 10), (24, 80)):
            screen.resize(rows, columns)
        screen.wait("1/200")
        screen.window.send(b"1003\r\r")
        assert screen.window.wait() == 0
        assert ended(screen) == [1003]


def test_no_color(many: Laptop) -> None:
    with choosing(many, NO_COLOR="1") as screen:
        screen.wait("1/200")
        assert set(BOLD.findall(screen.window.output)) <= {b"\x1b[0m", b"\x1b[m"}
        screen.window.send(b"\x1b")
        assert screen.window.wait() == 130


def test_a_dumb_terminal_is_asked_by_lines(many: Laptop) -> None:
    with Terminal([*NSSH, "sweep", "devbox"], {**many.env, "TERM": "dumb"}) as window:
        window.expect(b"for none: ")
        window.send(b"1002, 1004\r")
        assert window.wait() == 0
        assert len(re.findall(rb"(?m) ended\r$", window.output)) == 2


def test_the_printed_list_is_no_wider_than_it_must_be(many: Laptop) -> None:
    lines = many.run("sweep", "--dry-run", "--older", "10d", "devbox").stdout.splitlines()
    assert lines[:2] == [
        "HOST    PID   AGE    STATE    CLIENT  IDLE  RUNS",
        "devbox  1001  10d8h  unknown  -       -     -     to be ended",
    ]
    assert len(lines) == 201


def test_where_utmp_does_not_tell_nobody_is_chosen_as_detached(many: Laptop) -> None:
    done = many.run("sweep", "--detached", "devbox")
    assert (done.returncode, done.stdout) == (0, "nothing to end\n")
    assert done.stderr == "nssh: devbox: utmp does not tell whether 200 mosh-servers are detached; not chosen\n"
