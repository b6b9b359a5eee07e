"""What goes wrong around a session is one line for the user, and the session goes on as with ssh."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import actors
from nssh.ssh import login
from tests.lab.laptop import NSSH, Laptop
from tests.lab.sshd import Sshd, wait_until
from tests.lab.terminal import Terminal
from tests.session.support import ANY_PROMPT, forget, own_lines, without_mosh

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

FLOWS = pytest.mark.parametrize("mode", [[], ["--ssh"], ["--mosh"]], ids=["default", "ssh", "mosh"])


@pytest.fixture
def own_remote() -> Iterator[tuple[Laptop, Sshd]]:
    """A remote with nssh, and a laptop, for this test alone."""
    with Sshd() as remote:
        laptop = Laptop(remote.client)
        laptop.infect()
        yield laptop, remote
        laptop.wait_gone()


def session_on_a_terminal(laptop: Laptop, *words: str, status: int = 0) -> list[str]:
    """Run a session to its end, and return what nssh itself said."""
    with Terminal([*NSSH, *words, "devbox"], laptop.env) as window:
        window.expect(ANY_PROMPT)
        window.send(b"printf 'al%s' ive\r")
        window.expect(b"alive")
        if "--mosh" in words or b"[mosh" in window.output:
            window.send(b"\rexit\r")
            window.wait()
        else:
            window.send(f"\rexit {status}\r".encode())
            assert window.wait() == status
        assert window.attributes() == window.initial
        assert b"Traceback" not in window.output
        return own_lines(window.output)


# The remote's disk.


@pytest.fixture
def full_disk(own_remote: tuple[Laptop, Sshd]) -> Iterator[Laptop]:
    """The remote's state directory is on a file system without a free byte."""
    laptop, remote = own_remote
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    state = remote.state / "nssh"
    state.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", state], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no mount here: {mounted.stderr.decode().strip()}")
    try:
        with (state / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096):
                    pass
            except OSError:
                pass  # that is the point
        yield laptop
    finally:
        subprocess.run(["umount", "-l", state], check=True)


@FLOWS
def test_a_full_disk_on_the_remote_is_one_line(full_disk: Laptop, mode: list[str]) -> None:
    (line,) = session_on_a_terminal(full_disk, *mode)
    assert "No space left on device" in line
    assert line.startswith("devbox: ")


@FLOWS
def test_a_file_in_the_way_on_the_remote_is_one_line(own_remote: tuple[Laptop, Sshd], mode: list[str]) -> None:
    laptop, remote = own_remote
    remote.state.mkdir(parents=True, exist_ok=True)
    (remote.state / "nssh").write_text("a file in the way\n")
    (line,) = session_on_a_terminal(laptop, *mode)
    assert "can't create" in line
    assert line.startswith("devbox: ")


# The laptop's.


@FLOWS
@pytest.mark.parametrize("known", [True, False], ids=["known", "first"])
def test_an_unusable_state_directory_is_one_line(
    own_remote: tuple[Laptop, Sshd], mode: list[str], *, known: bool
) -> None:
    laptop, _ = own_remote
    if known:
        assert laptop.run("devbox", "true").returncode == 0
        laptop.wait_gone()
    else:
        forget(laptop)
    state = Path(laptop.env["XDG_STATE_HOME"]) / "nssh"
    if state.exists():
        state.rename(state.with_name("moved"))
    state.write_text("a file in the way\n")
    (line,) = session_on_a_terminal(laptop, *mode)
    assert line.startswith("can't write ")
    assert line.endswith("clipboard and browser will not work in this session")
    laptop.wait_gone()  # no master stays behind, either, though there was no bridge to end it


def test_an_unusable_state_directory_disturbs_no_script(own_remote: tuple[Laptop, Sshd]) -> None:
    laptop, _ = own_remote
    (laptop.client.home / "nowhere").write_text("a file in the way\n")
    environ = laptop.env | {"XDG_STATE_HOME": os.fspath(laptop.client.home / "nowhere")}
    done = subprocess.run(
        [*NSSH, "devbox", "cat; exit 5"], env=environ, input=b"data", capture_output=True, check=False
    )
    assert done.returncode == 5
    assert done.stdout == b"data"
    assert len(done.stderr.splitlines()) == 1


# The configuration.


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("server = \n", ":1: is not TOML here"),
        ('\nsevrer = "relay"\n', ':2: "sevrer" is unknown; did you mean "server"?'),
        ('server = "ftp://example.com"\n', ":1: "),
        ("[ssh]\ncommand = 7\n", ":2: "),
    ],
)
def test_a_malformed_configuration_is_one_line_and_status_1(
    relay_laptop: Laptop, text: str, wanted: str, *, terminal: bool
) -> None:
    relay_laptop.config.write_text(text)
    if terminal:
        with Terminal([*NSSH, "devbox"], relay_laptop.env) as window:
            assert window.wait() == 1
            shown = window.output.decode().replace("\r", "")
    else:
        done = relay_laptop.run("devbox")
        assert done.returncode == 1
        shown = done.stderr
    assert shown.startswith(f"nssh: {relay_laptop.config}{wanted}")
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--nonsense", "devbox"],
        ["--ssh", "--mosh", "devbox"],
        ["--ssh"],
        ["-p"],
        ["devbox", "-p"],
        ["status", "--nonsense"],
        ["infect"],
        ["infect", "devbox", "words"],
        ["--", "-oProxyCommand=evil"],
        ["--mosh", "--replace", "devbox"],  # which wants a terminal, and must not end anything first
    ],
)
def test_wrong_usage_is_status_2(relay_laptop: Laptop, words: list[str]) -> None:
    done = relay_laptop.run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("nssh: ")
    assert "Traceback" not in done.stderr


def test_help_and_version_are_for_standard_output(relay_laptop: Laptop) -> None:
    for words, wanted in ((["--help"], "usage: nssh"), (["--version"], "nssh "), (["-V"], "nssh ")):
        done = relay_laptop.run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(wanted)


def test_no_ssh_on_this_machine_is_one_line(relay_laptop: Laptop) -> None:
    relay_laptop.env["NSSH_SSH"] = "/nowhere/ssh"
    done = relay_laptop.run("devbox")
    assert (done.returncode, done.stderr) == (1, "nssh: /nowhere/ssh: no such program; install the OpenSSH client\n")


# The bridge.


def _broken_bridge(laptop: Laptop, directory: Path) -> None:
    """Put a package `actors` before ours whose program fails, and whose other modules are ours."""
    _put_before(laptop, directory, f"__path__.append({os.path.dirname(actors.__file__)!r})\n")
    (directory / "actors" / "__main__.py").write_text("raise RuntimeError('this bridge can not start')\n")


def _put_before(laptop: Laptop, directory: Path, text: str) -> None:
    """Put a package `actors` before ours, with this in its `__init__`."""
    package = directory / "actors"
    package.mkdir()
    (package / "__init__.py").write_text(text)
    laptop.env["PYTHONPATH"] = f"{directory}{os.pathsep}{laptop.env['PYTHONPATH']}"


def _bridges(pid: int) -> list[psutil.Process]:
    """Return the bridges of a launcher, each of which may end while it is looked at."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "actors" in child.cmdline():
                found.append(child)
    return found


@pytest.mark.parametrize("mode", [["--ssh"], ["--mosh"]], ids=["ssh", "mosh"])
def test_a_bridge_that_never_starts_is_given_up_and_told_at_the_end(
    own_remote: tuple[Laptop, Sshd], tmp_path: Path, mode: list[str]
) -> None:
    laptop, _ = own_remote
    _broken_bridge(laptop, tmp_path)
    with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
        window.expect(ANY_PROMPT)
        before = len(window.output)
        logs = laptop.state / "logs"
        window.wait_until(
            lambda: sum(path.read_text().count("RuntimeError: ") for path in logs.glob("*.err")) == 6,
            "it was started and restarted five times",
            deadline=60.0,
        )
        window.wait_until(lambda: not _bridges(window.pid), "the last one is gone")
        assert b"bridge" not in window.output[before:]
        wait_until(lambda: "  problem: the bridge died 6 times" in laptop.run("status").stdout, "status says so")
        window.send(b"exit 7\r")
        assert window.wait() == (7 if mode == ["--ssh"] else 0)
        (line,) = own_lines(window.output)
        assert line.startswith("the bridge died 6 times and was given up; see ")
        assert b"Traceback" not in window.output
    laptop.wait_gone()
    assert list((laptop.client.home / "run/nssh").iterdir()) == []
    assert laptop.sessions() == []


def test_a_bridge_that_never_starts_disturbs_no_script(own_remote: tuple[Laptop, Sshd], tmp_path: Path) -> None:
    laptop, _ = own_remote
    _broken_bridge(laptop, tmp_path)
    done = subprocess.run(
        [*NSSH, "devbox", "cat; exit 7"], env=laptop.env, input=b"x", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"x", b"")
    # A bridge that was being started at the end was to clean up; as it never runs, ssh's own limit ends the connection.
    laptop.wait_gone(login.PERSIST + 10)


@pytest.mark.parametrize("mode", [["--ssh"], ["--mosh"]], ids=["ssh", "mosh"])
def test_another_package_in_place_of_the_bridge_s_is_told_at_the_end(
    own_remote: tuple[Laptop, Sshd], tmp_path: Path, mode: list[str]
) -> None:
    laptop, _ = own_remote
    _put_before(laptop, tmp_path, "raise RuntimeError('somebody else')\n")
    (line,) = session_on_a_terminal(laptop, *mode)
    assert line == "the bridge can't be started (RuntimeError: somebody else): install nssh anew"
    done = subprocess.run(
        [*NSSH, "devbox", "cat; exit 7"], env=laptop.env, input=b"x", capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"x", b"")
    assert laptop.sessions() == []


# Records of others.


def test_a_stale_record_is_removed_and_disturbs_nobody(own_remote: tuple[Laptop, Sshd]) -> None:
    laptop, _ = own_remote
    sessions = laptop.state / "sessions"
    sessions.mkdir(parents=True, exist_ok=True)
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale = sessions / f"{ended.pid}.json"
    stale.write_text(f'{{"pid": {ended.pid}, "target": "devbox", "topic": "nssh_x", "birth": "x/1"}}')
    (sessions / "1.json").write_text('{"pid": 1, "birth": "another/1", "topic": "nssh_x"}')
    (sessions / f"{ended.pid}.sock").touch()
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env) as window:
        window.expect(ANY_PROMPT)
        wait_until(lambda: any(one.bus == "up" and one.role == "leader" for one in laptop.sessions()), "it leads")
        assert not stale.exists()
        assert not (sessions / "1.json").exists()
        window.send(b"exit\r")
        assert window.wait() == 0


# An ordinary user.


def test_an_ordinary_user_s_session_is_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The remote side belongs to another account, without rights of any kind, which has its own nssh on it."""
    with Sshd(password=True) as remote:
        laptop = Laptop(remote.client)
        laptop.infect()
        without_mosh(laptop)
        assert pwd.getpwnam(remote.user).pw_uid != 0
        assert session_on_a_terminal(laptop, status=3) == []
        laptop.wait_gone()
        assert laptop.tracebacks() == ""
