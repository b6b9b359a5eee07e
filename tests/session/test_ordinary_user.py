"""The laptop's side as an ordinary user, when the tests run as root; for anybody else all other tests do that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.account import Account
from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.session.support import ANY_PROMPT, own_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real


class User:
    """Somebody without rights, with a home, a key and a remote to log in to."""

    def __init__(self, remote: Sshd, account: Account) -> None:
        self.account = account
        self.laptop = Laptop(remote.client)
        self.laptop.env |= {"USER": account.name, "LOGNAME": account.name}
        self.laptop.env["PYTHONPATH"] += f"{os.pathsep}{sysconfig.get_path('purelib')}{os.pathsep}{_platform()}"
        self.program = [_interpreter(account, self.laptop), "-P", "-m", "nssh"]
        self.own()

    def own(self) -> None:
        """Give all of the laptop's files to the user."""
        self.account.own(self.laptop.client.directory)

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self.program, *arguments], env=self.laptop.env, input=stdin, capture_output=True, timeout=60, check=False,
            user=self.account.name, group=self._group, extra_groups=[], cwd="/",
        )  # fmt: skip

    @property
    def _group(self) -> int:
        return self.laptop.client.directory.stat().st_gid

    def window(self, *arguments: str) -> Terminal:
        return Terminal([*self.program, *arguments], self.laptop.env, user=self.account.name, directory="/")


def _platform() -> str:
    return sysconfig.get_path("platlib")


def _interpreter(account: Account, laptop: Laptop) -> str:
    """Find a Python of our own version that the account may run and that has what nssh needs."""
    names = [sys.executable, os.path.realpath(sys.executable)]
    names += [f"{place}/python3.{sys.version_info.minor}" for place in ("/usr/bin", "/usr/local/bin")]
    for name in names:
        try:
            tried = subprocess.run(
                [name, "-P", "-c", "import actors.tree, nssh.launch.launcher, paramiko"],
                env=laptop.env, user=account.name, cwd="/", capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if tried.returncode == 0:
            return name
    pytest.skip(f"no Python {sys.version_info.major}.{sys.version_info.minor} here that an ordinary user may run")


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with Sshd(account=True) as remote:
        Laptop(remote.client).infect()
        account = Account(remote.client.home, "sh")
        try:
            yield User(remote, account)
        finally:
            account.remove()


@pytest.fixture(autouse=True)
def nothing_is_left(user: User) -> Iterator[None]:
    yield
    user.laptop.wait_gone()
    assert user.laptop.tracebacks() == ""


def test_a_script_s_command(user: User) -> None:
    done = user.run("devbox", "cat; echo err >&2; exit 7", stdin=b"data")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"data", b"err\n")


@pytest.mark.parametrize("mode", [[], ["--ssh"], ["--mosh"]], ids=["default", "ssh", "mosh"])
def test_a_session_on_a_terminal_with_its_bridge(user: User, mode: list[str]) -> None:
    with user.window(*mode, "devbox") as window:
        window.expect(ANY_PROMPT)
        (record,) = user.laptop.wait_up()
        window.send(b"~/.local/bin/xdg-open http://example.com/ordinary\r")
        user.laptop.wait_opened("http://example.com/ordinary")
        user.laptop.opened_file.unlink()
        window.send(b"exit\r")
        assert window.wait() == 0
        assert window.attributes() == window.initial
        assert own_lines(window.output) == []
    assert not Path(record.socket).exists()


def test_a_killed_launcher_leaves_nothing(user: User) -> None:
    with user.window("--ssh", "devbox") as window:
        window.expect(ANY_PROMPT)
        user.laptop.wait_up()
        window.signal(signal.SIGKILL)
        window.wait()
        user.laptop.wait_gone(deadline=5.0)


@pytest.mark.parametrize("mode", [[], ["--ssh"], ["--mosh"]], ids=["default", "ssh", "mosh"])
def test_a_state_directory_that_may_not_be_written_is_one_line(user: User, mode: list[str]) -> None:
    state = Path(user.laptop.env["XDG_STATE_HOME"]) / "nssh"
    for path in (state, *state.iterdir()):
        if path.is_dir():
            path.chmod(0o500)
    try:
        with user.window(*mode, "devbox") as window:
            window.expect(ANY_PROMPT)
            window.send(b"exit\r")
            assert window.wait() == 0
            (line,) = own_lines(window.output)
            assert line.startswith(f"can't write {state}/")
            assert line.endswith("; clipboard and browser will not work in this session")
    finally:
        for path in (state, *state.iterdir()):
            if path.is_dir():
                path.chmod(0o700)
