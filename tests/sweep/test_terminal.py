"""`nssh sweep` on a terminal, from the first key to the last fate."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import NSSH
from tests.lab.screen import Screen
from tests.lab.terminal import Terminal
from tests.sweep.support import start_server, sweep, wait_ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


@contextlib.contextmanager
def sweeping(laptop: Laptop, *arguments: str, rows: int = 24, columns: int = 100, **env: str) -> Iterator[Screen]:
    """Run `nssh sweep` in a window; its modes must be as they were in the end."""
    environ = {**laptop.env, **env}
    with Terminal([*NSSH, "sweep", *arguments], environ, rows=rows, columns=columns) as window:
        yield Screen(window, rows=rows, columns=columns)
        assert window.attributes() == window.initial


@pytest.fixture(autouse=True)
def clean(remote: Sshd, laptop: Laptop) -> Iterator[None]:
    """Each test begins and ends without servers."""
    yield
    sweep(laptop, "--all", "--min-age", "0", "--include-mine", "devbox")


def test_what_flags_chose_is_asked_about_once_more(remote: Sshd, laptop: Laptop) -> None:
    one, other = (start_server(remote, laptop) for _ in range(2))
    with sweeping(laptop, "--all", "--min-age", "0", "devbox") as screen:
        screen.wait("End these 2 mosh-servers?")
        shown = "\n".join(screen.lines)
        assert str(one.pid) in shown
        assert str(other.pid) in shown
        screen.window.send(b"y")
        assert screen.window.wait() == 0
        assert len(re.findall(rb"(?m) ended\r$", screen.window.output)) == 2
        assert "End these 2 mosh-servers? yes, end" in screen.lines
    wait_ended(one, other)


@pytest.mark.parametrize("key", [b"n", b"\r", b"\x03", b"\x1b"], ids=["n", "enter", "ctrl-c", "esc"])
def test_a_question_that_is_not_answered_with_yes_ends_nobody(remote: Sshd, laptop: Laptop, key: bytes) -> None:
    server = start_server(remote, laptop)
    with sweeping(laptop, "--all", "--min-age", "0", "devbox") as screen:
        screen.wait("End this mosh-server?")
        screen.window.send(key)
        assert screen.window.wait() == 130
    assert server.runs
    laptop.wait_gone()


def test_yes_is_not_asked(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    with sweeping(laptop, "--all", "--yes", "--min-age", "0", "devbox") as screen:
        assert screen.window.wait() == 0
        assert b"End this" not in screen.window.output
    wait_ended(server)


def test_nothing_to_end_is_not_asked_about(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    with sweeping(laptop, "--all", "devbox") as screen:
        assert screen.window.wait() == 0
        assert b"spared: too young" in screen.window.output
    with sweeping(laptop, "--older", "1h", "devbox") as screen:
        assert screen.window.wait() == 0
        assert b"nothing to end" in screen.window.output
    assert server.runs


def test_ctrl_c_while_hosts_answer_ends_nobody(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote.client.host("silent", "HostName 127.0.0.1", f"Port {silent.getsockname()[1]}")
        with sweeping(laptop, "--all", "--min-age", "0", "--timeout", "90s", "devbox", "silent") as screen:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                screen.window.send(b"\x03")
                assert screen.window.wait(20) == 130
                assert b"Traceback" not in screen.window.output
    assert server.runs
    laptop.wait_gone()


def test_ctrl_c_while_they_end_tells_whose_fate_is_not_known(remote: Sshd, laptop: Laptop) -> None:
    willing, deaf = (start_server(remote, laptop) for _ in range(2))
    deaf.process.suspend()
    with sweeping(laptop, "--all", "--yes", "--min-age", "0", "devbox") as screen:
        screen.wait(" ended")
        screen.window.send(b"\x03")
        assert screen.window.wait() == 130
        told = [line.split() for line in screen.lines if line.startswith("devbox ")]
        assert [(words[1], words[-1]) for words in told] == [(str(willing.pid), "ended"), (str(deaf.pid), "known")]
    assert deaf.runs
    laptop.wait_gone()
    deaf.process.resume()
    wait_ended(willing, deaf)


def test_standard_output_may_go_elsewhere(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    reader, writer = os.pipe()
    words = [*NSSH, "sweep", "--all", "--min-age", "0", "devbox"]
    with open(reader, "rb") as output, Terminal(words, laptop.env, redirect={1: writer}) as window:
        os.close(writer)
        screen = Screen(window)
        screen.wait("End this mosh-server?")
        window.send(b"y")
        assert window.wait() == 0
        assert output.read().endswith(b" ended\n")
    wait_ended(server)


def test_who_has_not_answered_is_shown_meanwhile(remote: Sshd, laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote.client.host("silent", "HostName 127.0.0.1", f"Port {silent.getsockname()[1]}")
        with sweeping(laptop, "--dry-run", "--timeout", "6s", "silent", "devbox") as screen:
            screen.wait("1/2 waiting for silent")
            assert screen.window.wait() == 1
            shown = screen.lines
            assert [line for line in shown if line.startswith("nssh: silent: ")]
            assert "no mosh-servers" in shown
            assert not [line for line in shown if "waiting for" in line], "nothing of it stays"
