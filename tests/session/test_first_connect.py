"""The first connect to a host: the offer to install, what is remembered of it, and remotes of every kind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from nssh import __version__
from tests.lab.laptop import NSSH, Laptop
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.session.support import ANY_PROMPT, gate, mosh_servers, own_lines, without_mosh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

FLOWS = pytest.mark.parametrize("mode", [[], ["--ssh"], ["--mosh"]], ids=["default", "ssh", "mosh"])


@pytest.fixture
def fresh() -> Iterator[tuple[Laptop, Sshd]]:
    """A remote that has no nssh, and a laptop that has never seen it."""
    with Sshd() as remote:
        laptop = Laptop(remote.client)
        yield laptop, remote
        laptop.wait_gone()
        assert laptop.tracebacks() == ""
        assert laptop.sessions() == []


def shim(remote: Sshd) -> Path:
    return remote.home / ".local/bin/xclip"


def go_on(window: Terminal, mode: list[str]) -> None:
    """Behind what the user is told to do (the remote's PATH is not right): mosh would take it from the screen."""
    if mode != ["--ssh"]:
        window.expect(b"Enter goes on to the session. ")
        window.send(b"\r")


def test_the_user_may_think_for_long(fresh: tuple[Laptop, Sshd]) -> None:
    """A mosh-server gives up after a minute, and a connection that nobody uses is closed after 20 seconds."""
    laptop, remote = fresh
    with Terminal([*NSSH, "--mosh", "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        wait_until(lambda: ["cat"] in [process.cmdline() for process in remote.leftovers()], "the connection is used")
        assert len(mosh_servers(remote)) == 0
        window.send(b"n\r")
        window.expect(ANY_PROMPT)
        assert len(mosh_servers(remote)) == 1
        window.send(b"exit\r")
        assert window.wait() == 0


@FLOWS
@pytest.mark.parametrize("answer", [b"y\r", b"\r"], ids=["y", "enter"])
def test_yes_installs_and_the_session_goes_on(fresh: tuple[Laptop, Sshd], mode: list[str], answer: bytes) -> None:
    laptop, remote = fresh
    with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
        window.expect(b"has no nssh yet")
        window.expect(b"[Y/n] ")
        window.send(answer)
        window.expect(b"installed nssh " + __version__.encode())
        go_on(window, mode)
        window.expect(ANY_PROMPT)
        assert shim(remote).exists()
        laptop.wait_up()
        window.send(b"exit\r")
        assert window.wait() == 0
    # One login for all of it.
    assert remote.log.read_text().count("Accepted publickey") == 1


@pytest.mark.parametrize("answer", [b"no\r\r", b"YES\r\r"])
def test_a_word_and_a_second_enter_are_the_answer_and_what_follows_is_for_the_remote(
    fresh: tuple[Laptop, Sshd], answer: bytes
) -> None:
    laptop, _ = fresh
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        window.send(answer + b"echo wh''ole; exit 4\r")
        told = window.expect(b"using ssh: ")
        assert window.wait() == 4
        shown = window.output[told.end() :]
        assert b"\nwhole\r\n" in shown or b"\rwhole\r\n" in shown
        assert len(ANY_PROMPT.findall(shown)) == 1


@FLOWS
@pytest.mark.parametrize("answer", [b"n\r", b"\x04"], ids=["n", "end-of-input"])
def test_no_is_remembered(fresh: tuple[Laptop, Sshd], mode: list[str], answer: bytes) -> None:
    laptop, remote = fresh
    with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        window.send(answer)
        window.expect(b"not installed; nssh infect devbox does it later")
        window.expect(ANY_PROMPT)
        window.send(b"exit 0\r")
        assert window.wait() == 0
    assert not shim(remote).exists()
    with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
        window.expect(ANY_PROMPT)
        window.send(b"exit 0\r")
        assert window.wait() == 0
        assert own_lines(window.output) == []


def test_what_was_typed_before_the_question_is_no_answer(fresh: tuple[Laptop, Sshd], tmp_path: Path) -> None:
    laptop, remote = fresh
    opened = gate(laptop, tmp_path)
    with Terminal([*NSSH, "devbox"], laptop.env) as window:
        window.send(b"ls\r\r")
        opened.touch()
        window.expect(b"[Y/n] ")
        window.send(b"y\r")
        go_on(window, [])
        window.expect(ANY_PROMPT)
        window.send(b"exit 0\r")
        assert window.wait() == 0
    assert shim(remote).exists()


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_at_the_question_ends_nssh(fresh: tuple[Laptop, Sshd], name: str) -> None:
    laptop, remote = fresh
    number = getattr(signal, f"SIG{name}")
    with Terminal([*NSSH, "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        if name == "INT":
            window.send(b"\x03")
        else:
            window.signal(number)
        assert window.wait() == 128 + number
        assert window.attributes() == window.initial
    laptop.wait_gone()
    assert not shim(remote).exists()
    assert not any(json.loads(path.read_text())["declined"] for path in (laptop.state / "hosts").glob("*"))


def test_a_line_that_is_no_answer_decides_nothing(fresh: tuple[Laptop, Sshd]) -> None:
    laptop, remote = fresh
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        window.send(b"yls -l\r")  # y, and at once what was meant for the shell
        window.expect(b"[Y/n] ")
        window.send(b"y\r")
        window.expect(b"installed nssh ")
        window.expect(ANY_PROMPT)
        window.send(b"exit\r")
        assert window.wait() == 0
    assert shim(remote).exists()


def test_the_question_is_not_written_into_a_file(fresh: tuple[Laptop, Sshd], tmp_path: Path) -> None:
    laptop, _ = fresh
    with (
        (tmp_path / "out").open("wb") as file,
        Terminal([*NSSH, "devbox"], laptop.env, redirect={1: file.fileno()}) as window,
    ):
        window.expect(b"[Y/n] ")
        window.send(b"n\r")
        window.expect(b"not installed")
        window.send(b"echo done; exit\r")
        assert window.wait() == 0
    assert b"[Y/n]" not in (tmp_path / "out").read_bytes()
    assert b"done" in (tmp_path / "out").read_bytes()


def test_nobody_is_asked_without_a_terminal(fresh: tuple[Laptop, Sshd]) -> None:
    laptop, remote = fresh
    done = subprocess.run(
        [*NSSH, "devbox", "echo hello"], env=laptop.env, input=b"y\n", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
    assert not shim(remote).exists()


def test_nobody_is_asked_who_only_runs_a_command(fresh: tuple[Laptop, Sshd]) -> None:
    laptop, _ = fresh
    with Terminal([*NSSH, "devbox", "echo hello"], laptop.env) as window:
        assert window.wait() == 0
        assert b"[Y/n]" not in window.output


@FLOWS
def test_another_version_is_told(fresh: tuple[Laptop, Sshd], mode: list[str]) -> None:
    laptop, remote = fresh
    laptop.infect()
    version = remote.data / "nssh/version"
    words = version.read_text().split()
    version.write_text(" ".join(["0.0.1", *words[1:]]) + "\n")
    for _ in range(2):
        with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
            window.expect(ANY_PROMPT)
            laptop.wait_up()
            window.send(b"exit\r")
            assert window.wait() == 0
            assert own_lines(window.output) == [f"devbox has nssh 0.0.1, this is {__version__}: run nssh infect devbox"]


SHELLS = pytest.mark.parametrize("shell", ["fish", "zsh", "tcsh", "bash"])
START_UP_FILES = (".bashrc", ".profile", ".zshenv", ".zshrc", ".cshrc", ".config/fish/config.fish")


@SHELLS
def test_any_login_shell_will_do(shell: str) -> None:
    with Sshd(shell=shell) as remote:
        remote.write_home(".zshrc", "")  # without one it asks a newcomer about everything
        _first_session(remote)


@SHELLS
def test_noise_from_start_up_files_disturbs_neither_login_nor_bus(shell: str) -> None:
    with Sshd(shell=shell) as remote:
        for name in START_UP_FILES:
            remote.write_home(name, "echo noise from a start-up file\necho more noise >&2\n")
        _first_session(remote)


def _first_session(remote: Sshd) -> None:
    laptop = Laptop(remote.client)
    without_mosh(laptop)
    with Terminal([*NSSH, "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        window.send(b"y\r")
        window.expect(b"installed nssh")
        window.expect(ANY_PROMPT)
        laptop.wait_up()
        window.send(b"exit\r")
        assert window.wait() == 0
    laptop.wait_gone()
    assert laptop.tracebacks() == ""


def test_a_remote_that_runs_no_scripts_still_gets_its_session() -> None:
    """A git server, a router: what was asked of it beside the session is answered with noise or nothing."""
    force = "ForceCommand echo Hi there, no shell here; exit 4"
    with Sshd(options=[force]) as remote:
        laptop = Laptop(remote.client)
        with Terminal([*NSSH, "devbox"], laptop.env) as window:
            window.expect(b"nssh: using ssh: devbox runs no scripts")
            window.expect(re.compile(rb"Hi there, no shell here\r+\n"))
            assert window.wait() == 4
        with Terminal([*NSSH, "--mosh", "devbox"], laptop.env) as window:
            assert window.wait() != 0
            assert own_lines(window.output) == ["devbox: its shell did not run our script: Hi there, no shell here"]
        assert remote.log.read_text().count("Accepted publickey") == 2
        laptop.wait_gone()


HIDE = """\
#!/bin/sh
for python in /usr/bin/python3* /usr/local/bin/python3* /opt/homebrew/bin/python3*; do
    [ ! -x "$python" ] || mount --bind /dev/null "$(readlink -f "$python")" || exit 99
done
exec sh -c "${SSH_ORIGINAL_COMMAND:-exec sh -i}"
"""


@FLOWS
def test_no_python3_on_the_remote_is_one_line_and_the_session_goes_on(tmp_path: Path, mode: list[str]) -> None:
    """Its python3 is hidden where the installer looks, in a mount namespace of the session's."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root hides programs in a mount namespace")
    hide = tmp_path / "hide"
    hide.write_text(HIDE)
    hide.chmod(0o755)
    with Sshd(options=[f"ForceCommand PATH=/usr/bin:/bin unshare -m {hide}"]) as remote:
        laptop = Laptop(remote.client)
        with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
            window.expect(b"[Y/n] ")
            window.send(b"y\r")
            window.expect(b"install python3 (3.8 or newer) there")
            go_on(window, mode)
            window.expect(ANY_PROMPT)
            window.send(b"exit 0\r")
            assert window.wait() == 0
            assert len([line for line in own_lines(window.output) if "python3" in line]) == 1
            assert b"Traceback" not in window.output
        laptop.wait_gone()
        assert laptop.tracebacks() == ""
