"""Suspending a session, waking it, and ending it meanwhile: the keys are the user's shell's all the time."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import termios
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.lab.laptop import NSSH, Laptop
from tests.lab.terminal import Terminal
from tests.session.support import forget, settle, without_mosh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.state.session_records import Record

pytestmark = pytest.mark.real


@contextlib.contextmanager
def local_shell(laptop: Laptop) -> Iterator[Terminal]:
    """A shell of the laptop's at its prompt, without a line editor, which would be quick to set modes of its own."""
    with Terminal(["bash", "--norc", "--noediting", "-i"], laptop.env | {"PS1": "local> "}) as window:
        window.expect(b"local> ")
        yield window


def suspend_one(laptop: Laptop, window: Terminal) -> Record:
    """Start a session that only echoes, and suspend it; return its record."""
    window.send(shlex.join([*NSSH, "devbox", "echo run''ning; exec cat"]).encode() + b"\r")
    window.expect(b"running\r\n")
    (record,) = laptop.wait_up()
    window.send(b"\x1a")
    window.expect(b"Stopped")
    return record


def keys_are_the_shell_s(window: Terminal) -> None:
    """See that nothing else takes a line that is typed."""
    for number in range(20):
        window.send(f"echo lo''cal{number}\r".encode())
        window.expect(f"local{number}\r\n".encode(), deadline=5.0)


# ssh itself may be stopped by a `fg` that follows a SIGCONT at once, so it is no measure for that.
SUSPENDED = [
    (program, wake)
    for program in ("ssh", "nssh --ssh", "nssh, after a login")
    for wake in ("fg", "SIGCONT")
    if (program, wake) != ("ssh", "SIGCONT")
]


@pytest.mark.parametrize(("program", "wake"), SUSPENDED)
def test_a_session_is_suspended_to_the_shell_it_came_from(relay_laptop: Laptop, program: str, wake: str) -> None:
    """SIGTSTP, as with plain ssh (the first of the three)."""
    command = [*NSSH, "devbox"]
    if program == "ssh":
        command = [*relay_laptop.client.ssh, "devbox"]
    elif program == "nssh --ssh":
        command = [*NSSH, "--ssh", "devbox"]
    else:
        without_mosh(relay_laptop)
        forget(relay_laptop)
    with local_shell(relay_laptop) as window:
        shell = window.attributes()
        window.send(shlex.join(command).encode() + b"\r")
        settle(window)
        remote = window.attributes()
        assert not remote[3] & termios.ICANON
        (job,) = psutil.Process(window.pid).children()
        job.send_signal(signal.SIGTSTP)
        window.expect(b"Stopped")
        window.expect(b"local> ")
        assert window.attributes() == shell
        for number in range(20):  # every key is the local shell's
            window.send(f"echo lo''cal{number}\r".encode())
            window.expect(f"local{number}\r\n".encode(), deadline=5.0)
            window.expect(b"local> ")
        if wake == "fg":
            window.send(b"fg\r")
        else:
            # In the background: it goes on until it wants the terminal. Then it is stopped.
            window.send(b"kill -CONT %1\r")
            window.expect(b"local> ")
            window.wait_until(lambda: job.status() == psutil.STATUS_STOPPED, "it waits for the terminal")

            def noticed() -> bool:  # a shell that takes it for running would not continue it
                window.send(b"jobs\r")
                return b"Stopped" in window.rest()

            window.wait_until(noticed, "the shell knows, too")
            assert window.attributes() == shell
            window.send(b"fg\r")
        if program == "ssh":
            window.expect(b"fg\r\n")  # it leaves the modes as the shell has them
        else:
            window.wait_until(lambda: window.attributes() == remote, "the session has its modes again")
        window.send(b"echo back''again\r")
        window.expect(re.compile(rb"backagain\r+\n"))
        window.send(b"exit 3\r")
        window.expect(b"local> ")
        window.send(b"echo left with $?\r")
        window.expect(b"left with 3\r\n")
        window.send(b"exit\r")
        assert window.wait() == 0


@pytest.mark.parametrize("program", ["ssh", "nssh"])
def test_a_command_without_a_terminal_is_suspended_by_ctrl_z(relay_laptop: Laptop, program: str) -> None:
    command = [
        *(relay_laptop.client.ssh if program == "ssh" else NSSH),
        "devbox",
        "echo run''ning; while read word; do echo got $word; done",
    ]
    with local_shell(relay_laptop) as window:
        window.send(shlex.join(command).encode() + b"\r")
        window.expect(b"running\r\n")
        window.send(b"\x1a")
        window.expect(b"Stopped")
        keys_are_the_shell_s(window)
        window.send(b"bg\r")  # it stops again as soon as it wants to read the terminal
        keys_are_the_shell_s(window)
        window.send(b"fg\r")
        window.send(b"this\r")
        window.expect(b"got this\r\n")
        window.send(b"\x04")
        window.expect(b"local> ")
        window.send(b"echo left with $?; exit\r")
        window.expect(b"left with 0\r\n")
        assert window.wait() == 0


@pytest.mark.parametrize("name", ["TERM", "HUP", "KILL"])
def test_a_suspended_session_can_be_killed(relay_laptop: Laptop, name: str) -> None:
    with local_shell(relay_laptop) as window:
        suspend_one(relay_laptop, window)
        window.send(f"kill -{name} %1\r".encode())
        keys_are_the_shell_s(window)
        window.wait_until(
            lambda: [process.pid for process in relay_laptop.processes()] == [window.pid], "all of it is gone", 5.0
        )
        assert not list((relay_laptop.client.home / "run/nssh").iterdir())
        window.send(b"exit\r")
        window.expect(b"exit")
        window.send(b"exit\r")  # "There are stopped jobs", if bash has not noticed yet
        window.wait()


def test_a_suspended_session_whose_processes_are_all_killed_leaves_nobody_at_the_terminal(relay_laptop: Laptop) -> None:
    with local_shell(relay_laptop) as window:
        record = suspend_one(relay_laptop, window)
        window.send(f"kill -KILL {record.bridge} %1\r".encode())
        keys_are_the_shell_s(window)
        window.wait_until(
            lambda: [process.pid for process in relay_laptop.processes()] == [window.pid], "all of it is gone", 5.0
        )
        # Not `exit`: bash may notice the stop of a job behind its death, and then asks about stopped jobs.
        window.send(b"exec true\r")
        window.wait()
    # Whoever looks next tidies up.
    assert relay_laptop.run("status").returncode == 0
    assert not list((relay_laptop.client.home / "run/nssh").iterdir())


def test_a_suspended_session_goes_on_without_the_guard_that_somebody_killed(relay_laptop: Laptop) -> None:
    with local_shell(relay_laptop) as window:
        suspend_one(relay_laptop, window)
        (guard,) = [one for one in relay_laptop.processes() if "nssh.launch.master_guard" in one.cmdline()]
        guard.kill()
        window.send(b"fg\r")
        window.send(b"hello\r")
        window.expect(re.compile(rb"hello\r\n(.*\n)*hello\r?\n"))
        window.send(b"\x04")
        window.expect(b"local> ")
        window.send(b"echo left with $?; exit\r")
        window.expect(b"left with 0\r\n")
        window.wait()


def test_nssh_in_the_background_waits_for_the_terminal(relay_laptop: Laptop) -> None:
    with local_shell(relay_laptop) as window:
        window.send(shlex.join([*NSSH, "devbox", "cat"]).encode() + b" &\r")
        window.wait_until(
            lambda: any(job.status() == psutil.STATUS_STOPPED for job in psutil.Process(window.pid).children()),
            "it is stopped",
        )
        window.send(b"\r")
        window.expect(b"Stopped")
        window.send(b"fg\r")
        window.send(b"hello\r")
        window.expect(re.compile(rb"hello\r\n(.*\n)*hello\r?\n"))
        window.send(b"\x04")
        window.expect(b"local> ")
        window.send(b"exit\r")
        assert window.wait() == 0


def test_mosh_is_suspended_by_its_own_keys(relay_laptop: Laptop) -> None:
    with local_shell(relay_laptop) as window:
        window.send(shlex.join([*NSSH, "--mosh", "devbox"]).encode() + b"\r")
        window.expect(re.compile(rb"[$#] "))
        window.send(b"\x1e\x1a")
        window.expect(b"Stopped")
        window.expect(b"local> ")
        window.send(b"fg\r")
        window.wait_until(lambda: not window.attributes()[3] & termios.ICANON, "mosh has the terminal")
        window.send(b"printf 'back%s' again\r")
        window.expect(b"backagain")
        window.send(b"\rexit\r")
        window.expect(b"local> ")
        window.send(b"exit\r")
        assert window.wait() == 0
