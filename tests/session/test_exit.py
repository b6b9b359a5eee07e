"""How a session ends: with ssh's own status and words, whatever ended it, and with nothing of it left."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import NSSH
from tests.lab.ports import free_port
from tests.lab.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real

PROMPT = b"ready> "
# What a shell on the remote is told to say, so that typed words are not taken for it.
SHELL = "PS1='ready''> ' exec sh -i"


def ssh(laptop: Laptop, *arguments: str) -> list[str]:
    return [*laptop.client.ssh, *arguments]


def nssh(*arguments: str) -> list[str]:
    return [*NSSH, *arguments]


def run(argv: Sequence[str], laptop: Laptop, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    done = subprocess.run(argv, env=laptop.env, input=stdin, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def as_a_shell_says(status: int) -> int:
    return status if status >= 0 else 128 - status


@pytest.mark.parametrize("mode", [["--ssh"], []])
@pytest.mark.parametrize("status", [0, 7, 255])
def test_the_status_is_the_remote_commands(relay_laptop: Laptop, mode: list[str], status: int) -> None:
    assert run(nssh(*mode, "devbox", f"echo out; echo err >&2; exit {status}"), relay_laptop) == (
        status,
        b"out\n",
        b"err\n",
    )


@pytest.mark.parametrize("mode", [["--ssh"], []])
def test_the_status_of_a_shell_on_a_terminal_is_its_own(relay_laptop: Laptop, mode: list[str]) -> None:
    with Terminal(nssh(*mode, "-t", "devbox", SHELL), relay_laptop.env) as window:
        window.expect(PROMPT)
        window.send(b"exit 7\r")
        assert window.wait() == 7
        assert window.attributes() == window.initial


def test_a_remote_command_killed_by_a_signal_is_told_as_ssh_tells_it(relay_laptop: Laptop) -> None:
    command = "kill -TERM $$"
    assert run(nssh("devbox", command), relay_laptop)[0] == run(ssh(relay_laptop, "devbox", command), relay_laptop)[0]


# mosh without a terminal is wrong usage, before anybody is asked.
PLACES = [(["--ssh"], False), (["--ssh"], True), ([], False), ([], True), (["--mosh"], True)]


@pytest.mark.parametrize(("mode", "terminal"), PLACES)
def test_a_name_that_does_not_resolve_is_ssh_s_message_and_status(
    relay_laptop: Laptop, mode: list[str], *, terminal: bool
) -> None:
    _refused_as_by_ssh(relay_laptop, mode, ["-T", "no-such-host.invalid"], terminal=terminal)


@pytest.mark.parametrize(("mode", "terminal"), PLACES)
def test_a_refused_connection_is_ssh_s_message_and_status(
    relay_laptop: Laptop, mode: list[str], *, terminal: bool
) -> None:
    port = free_port()
    _refused_as_by_ssh(relay_laptop, mode, ["-T", "-p", str(port), "127.0.0.1"], terminal=terminal)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_changed_host_key_is_ssh_s_message_and_status(relay_laptop: Laptop, remote: Sshd, *, terminal: bool) -> None:
    stranger = relay_laptop.client.directory / "stranger"
    stranger.write_text(f"{remote.known_as} {relay_laptop.client.key.with_suffix('.pub').read_text()}")
    _refused_as_by_ssh(relay_laptop, [], ["-T", "-o", f"UserKnownHostsFile={stranger}", "devbox"], terminal=terminal)


def _refused_as_by_ssh(laptop: Laptop, mode: list[str], words: list[str], *, terminal: bool) -> None:
    ours, theirs = nssh(*mode, *words), ssh(laptop, *words)
    if not terminal:
        assert run(ours, laptop) == run(theirs, laptop)
        return
    shown = []
    for argv in (theirs, ours):
        with Terminal(argv, laptop.env) as window:
            assert window.wait() == 255
            assert window.attributes() == window.initial
            shown.append(window.output.replace(b"\r", b"").partition(b"\x1b")[0])
    assert shown[0] == shown[1]
    assert shown[0]


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_a_signal_to_nssh_ends_the_session_as_it_ends_ssh(relay_laptop: Laptop, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    statuses = []
    for argv in (ssh(relay_laptop, "-t", "devbox", SHELL), nssh("--ssh", "-t", "devbox", SHELL)):
        with Terminal(argv, relay_laptop.env) as window:
            window.expect(PROMPT)
            window.signal(number)
            statuses.append(as_a_shell_says(window.wait()))
            if argv[0] != "ssh":
                assert window.attributes() == window.initial
    # The ssh of a shared connection ends with 255 where the one that holds it is killed by the signal itself.
    assert statuses[1] in {statuses[0], 255, 128 + number}


@pytest.mark.parametrize("name", ["TERM", "HUP", "QUIT"])
def test_a_signal_to_nssh_without_a_terminal_ends_the_command(relay_laptop: Laptop, remote: Sshd, name: str) -> None:
    with subprocess.Popen(
        nssh("devbox", "echo started; exec cat"),
        env=relay_laptop.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.wait(30) in {255, 128 + getattr(signal, f"SIG{name}")}
    relay_laptop.wait_gone()


def test_a_killed_ssh_is_128_and_the_signal(relay_laptop: Laptop) -> None:
    with Terminal(nssh("--ssh", "-t", "devbox", SHELL), relay_laptop.env) as window:
        window.expect(PROMPT)
        window.child("ssh").kill()
        assert window.wait() == 128 + signal.SIGKILL
        assert window.attributes() == window.initial


def test_a_window_that_is_closed_ends_the_session(relay_laptop: Laptop) -> None:
    with Terminal(nssh("--ssh", "-t", "devbox", SHELL), relay_laptop.env) as window:
        window.expect(PROMPT)
        window.hang_up()
        assert as_a_shell_says(window.wait()) in {255, 128 + signal.SIGHUP}
    relay_laptop.wait_gone()


def test_a_killed_launcher_leaves_nothing(relay_laptop: Laptop) -> None:
    with Terminal(nssh("--ssh", "-t", "devbox", SHELL), relay_laptop.env) as window:
        window.expect(PROMPT)
        relay_laptop.wait_up()
        window.signal(signal.SIGKILL)
        assert window.wait() == -signal.SIGKILL
        relay_laptop.wait_gone(deadline=5.0)
    runtime = relay_laptop.client.home / "run/nssh"
    assert list(runtime.iterdir()) == []
    assert relay_laptop.sessions() == []


def test_the_terminal_sees_nothing_of_a_killed_bridge(relay_laptop: Laptop) -> None:
    with Terminal(nssh("--ssh", "-t", "devbox", SHELL), relay_laptop.env) as window:
        window.expect(PROMPT)
        for _ in range(3):
            (record,) = relay_laptop.wait_up()
            os.kill(record.bridge, signal.SIGKILL)
            window.wait_until(
                lambda killed=record.bridge: [  # type: ignore[misc]
                    one for one in relay_laptop.sessions() if one.bridge != killed and one.bus == "up"
                ],
                "another bridge is up",
            )
        assert window.rest() == b""
        window.send(b"echo still''here\r")
        window.expect(b"stillhere\r\n" + PROMPT)
        window.send(b"exit 5\r")
        assert window.wait() == 5
