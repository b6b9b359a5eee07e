"""A session in a terminal window: passwords, sizes, suspension, and the modes given back as they were."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import NSSH, Laptop
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.session.support import forget, settle, without_mosh

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

# First logins (an ssh on the terminal before the session's), and the session's own ssh at once.
FLOWS = pytest.mark.parametrize("mode", [[], ["--ssh"], ["--mosh"]], ids=["default", "ssh", "mosh"])
RESET = (
    b"\x1b[?1000l",
    b"\x1b[?1006l",
    b"\x1b[?2004l",
    b"\x1b[?25h",
    b"\x1b[?1047l",
    b"\x1b[?1l",
    b"\x1b>",
    b"\x1b[0m",
)


@pytest.fixture(scope="module")
def locked() -> Iterator[Sshd]:
    """A remote that wants a password, with nssh on it."""
    with Sshd(password=True) as sshd:
        laptop = Laptop(sshd.client)
        laptop.infect()  # while the key still is good for it
        sshd.client.host(
            "devbox",
            f"HostName {sshd.address}",
            f"Port {sshd.port}",
            f"User {sshd.user}",
            "PubkeyAuthentication no",
            "NumberOfPasswordPrompts 2",
        )
        yield sshd


@pytest.fixture
def locked_out(locked: Sshd) -> Iterator[Laptop]:
    laptop = Laptop(locked.client)
    yield laptop
    laptop.wait_gone()
    assert laptop.tracebacks() == ""
    assert laptop.sessions() == []


@FLOWS
def test_a_password_is_asked_for_once_and_the_bridge_comes_up(
    locked_out: Laptop, locked: Sshd, mode: list[str]
) -> None:
    assert locked.password is not None
    with Terminal([*NSSH, *mode, "devbox"], locked_out.env) as window:
        window.expect(b"password: ")
        window.wait_until(lambda: not window.echo, "ssh has switched the echo off")
        window.send(locked.password.encode() + b"\r")
        window.expect(re.compile(rb"[$#] "))
        (record,) = locked_out.wait_up()
        assert record.route == "control"
        window.send(b"printf 'al%s' ive\r")
        window.expect(b"alive")
        window.send(b"\rexit\r")
        assert window.wait() == 0
        assert window.output.count(b"password: ") == 1
        assert locked.password.encode() not in window.output
        assert window.attributes() == window.initial


@FLOWS
def test_ctrl_c_at_the_password_prompt_ends_it_and_the_echo_is_back(locked_out: Laptop, mode: list[str]) -> None:
    with Terminal([*NSSH, *mode, "devbox"], locked_out.env) as window:
        window.expect(b"password: ")
        window.wait_until(lambda: not window.echo, "ssh has switched the echo off")
        window.insist(b"\x03", lambda: window.ended, "it ends")
        assert window.wait() == 128 + signal.SIGINT
        assert window.attributes() == window.initial
    locked_out.wait_gone()


@FLOWS
def test_a_killed_launcher_takes_the_password_prompt_with_it(locked_out: Laptop, mode: list[str]) -> None:
    with Terminal([*NSSH, *mode, "devbox"], locked_out.env) as window:
        window.expect(b"password: ")
        window.signal(signal.SIGKILL)
        window.wait()
        locked_out.wait_gone(deadline=5.0)


@FLOWS
def test_wrong_passwords_are_ssh_s_affair(locked_out: Laptop, mode: list[str]) -> None:
    with Terminal([*NSSH, *mode, "devbox"], locked_out.env) as window:
        for _ in range(2):
            window.expect(b"password: ")
            window.wait_until(lambda: not window.echo, "ssh has switched the echo off")
            window.send(b"wrong\r")
        window.expect(b"Permission denied (")
        assert window.wait() == 255
        assert b"nssh" not in window.output.partition(b"Permission denied (")[2]
        assert window.attributes() == window.initial


@FLOWS
def test_ctrl_z_at_the_password_prompt_suspends_and_fg_asks_again(
    locked_out: Laptop, locked: Sshd, mode: list[str]
) -> None:
    assert locked.password is not None
    with Terminal(["bash", "--norc", "-i"], locked_out.env | {"PS1": "local> "}) as window:
        window.expect(b"local> ")
        window.send(" ".join([*NSSH, *mode, "devbox"]).encode() + b"\r")
        window.expect(b"password: ")
        window.wait_until(lambda: not window.echo, "ssh has switched the echo off")
        window.insist(b"\x1a", lambda: b"Stopped" in window.rest(), "it is suspended")
        window.expect(b"Stopped")
        window.expect(b"local> ")
        window.send(b"fg\r")
        window.expect(b"password: ")
        window.wait_until(lambda: not window.echo, "ssh has switched the echo off")
        window.send(locked.password.encode() + b"\r")
        window.expect(re.compile(rb"[$#] "))
        window.send(b"exit 0\r")
        window.expect(b"local> ")
        window.send(b"echo left with $?\r")
        window.expect(b"left with 0\r\n")
        window.send(b"exit\r")
        window.wait()


@FLOWS
def test_the_remote_has_the_window_s_size_and_follows_it(relay_laptop: Laptop, mode: list[str]) -> None:
    with Terminal([*NSSH, *mode, "devbox"], relay_laptop.env, rows=31, columns=97) as window:
        window.expect(re.compile(rb"[$#] "))
        window.send(b"stty size\r")
        window.expect(b"31 97")
        window.resize(42, 111)

        def followed() -> bool:
            window.send(b"stty size\r")
            return b"42 111" in window.rest()

        window.wait_until(followed, "the remote's size is the window's")
        window.send(b"exit\r")
        assert window.wait() == 0


def test_ssh_s_escapes_work_as_in_a_shared_connection(relay_laptop: Laptop) -> None:
    with Terminal([*NSSH, "--ssh", "devbox"], relay_laptop.env) as window:
        settle(window)
        window.send(b"\r~\x1a")
        window.expect(b"escape not available to multiplexed sessions")  # a limit of ssh's own
        window.send(b"echo un''disturbed\r")
        window.expect(b"undisturbed\r\n")
        window.send(b"\r~.")
        assert window.wait() == 255
        assert window.attributes() == window.initial


FULL_SCREEN = (
    r"printf '\033[?1049h\033[?1000h\033[?1006h\033[?2004h\033[?25l\033[?1h\033=\033[1;31mfull''screen';"
    "stty raw -echo; exec sleep 600"
)


@pytest.mark.parametrize("victim", ["ssh", "sshd"])
@pytest.mark.parametrize("flow", ["--ssh", "login"])
def test_a_full_screen_program_s_modes_are_taken_back_when_the_session_dies(
    relay_laptop: Laptop, remote: Sshd, victim: str, flow: str
) -> None:
    mode = ["--ssh"] if flow == "--ssh" else []
    if flow == "login":
        without_mosh(relay_laptop)
        forget(relay_laptop)
    with Terminal([*NSSH, *mode, "devbox"], relay_laptop.env) as window:
        window.expect(re.compile(rb"[$#] "))
        window.send(FULL_SCREEN.encode() + b"\r")
        window.expect(b"\x1b[1;31mfullscreen")
        assert window.attributes() != window.initial
        if victim == "ssh":
            window.child("ssh").kill()
        else:
            remote.kill_sessions()
        status = window.wait()
        assert status == (128 + signal.SIGKILL if victim == "ssh" else 255)
        assert window.attributes() == window.initial
        shown = window.rest()
        for sequence in RESET:
            assert sequence in shown
        # 1049 would put the cursor where it was at some other time, if the program had not used it.
        assert b"\x1b[?1049l" not in shown


def test_nothing_is_written_after_a_command_that_had_no_terminal(relay_laptop: Laptop) -> None:
    with Terminal([*NSSH, "devbox", "printf done"], relay_laptop.env) as window:
        assert window.wait() == 0
        assert window.output == b"done"


def test_a_dumb_terminal_gets_no_sequences(relay_laptop: Laptop) -> None:
    with Terminal([*NSSH, "--ssh", "-t", "devbox", "printf done"], relay_laptop.env | {"TERM": "dumb"}) as window:
        assert window.wait() == 0
        assert b"\x1b" not in window.output
