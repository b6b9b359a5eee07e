"""The end of a shared connection, whatever its master is at."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.ssh import master
from nssh.ssh.mux import master_pid
from tests.lab.tools import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.sshd import Sshd


@pytest.fixture
def path(remote: Sshd) -> Iterator[Path]:
    """The socket of a master that nobody uses at the moment, as the launcher's ssh leaves it behind."""
    path = remote.client.directory / "ended"
    options = ["-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-S", os.fspath(path)]
    subprocess.run([*remote.client.ssh, *options, "devbox", "true"], env=remote.client.env(), check=True)
    pid = master_pid(os.fspath(path))
    assert pid is not None
    yield path
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    path.unlink(missing_ok=True)


@pytest.mark.real
@pytest.mark.parametrize("only_here", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_a_master_goes_with_its_socket_also_one_that_does_not_answer(
    path: Path, *, held: bool, only_here: bool
) -> None:
    process = psutil.Process(master_pid(os.fspath(path)))
    if held:
        process.suspend()
    master.end(os.fspath(path), only_here=only_here)
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "it is gone")
    wait_until(lambda: not path.exists(), "its socket is gone")
    master.end(os.fspath(path))


@pytest.mark.real
@pytest.mark.parametrize("only_here", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_a_master_that_has_not_detached_yet_goes_too(remote: Sshd, *, held: bool, only_here: bool) -> None:
    """As that of a session which is replaced while its ssh logs in: it has no title yet that names the socket."""
    path = remote.client.directory / "early"
    ssh = [*remote.client.ssh, "-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-S", os.fspath(path), "devbox"]
    with subprocess.Popen([*ssh, "sleep 62"], env=remote.client.env(), stdin=subprocess.DEVNULL) as session:
        wait_until(lambda: master_pid(os.fspath(path)) == session.pid, "it is a master")
        if held:
            session.send_signal(signal.SIGSTOP)
        master.end(os.fspath(path), only_here=only_here)
        session.wait(DEADLINE)
    assert not path.exists()


@pytest.mark.real
def test_the_ssh_on_the_terminal_ends_by_itself_when_its_held_master_is_killed(remote: Sshd) -> None:
    path = remote.client.directory / "detached"
    ssh = [*remote.client.ssh, "-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-S", os.fspath(path), "devbox"]
    with subprocess.Popen([*ssh, "sleep 63"], env=remote.client.env(), stdin=subprocess.DEVNULL) as session:
        wait_until(lambda: master_pid(os.fspath(path)) not in {None, session.pid}, "its master has detached")
        pid = master_pid(os.fspath(path))
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        master.end(os.fspath(path))
        assert session.wait(DEADLINE) == 255, "as ssh ends when its connection is lost, not by a signal"
    assert not path.exists()


@pytest.mark.real
def test_a_process_that_does_not_name_the_socket_is_spared_whatever_its_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that began to listen may have ended, and its PID may be another one's by now."""
    path = os.fspath(tmp_path / "silent")
    with socket.socket(socket.AF_UNIX) as server, subprocess.Popen(["sleep", "64"]) as other:
        server.bind(path)
        server.listen()
        monkeypatch.setattr("nssh.remote.stop.listener_pid", lambda _: other.pid)
        master.end(path)
        assert other.poll() is None
        other.kill()
    assert os.path.exists(path)


def test_what_answers_nothing_and_is_no_master_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        server.listen()
        master.end(os.fspath(path))
        assert path.exists()
    master.end(os.fspath(path))
    assert not path.exists(), "nobody listens any more"
    path.write_bytes(b"no socket")
    master.end(os.fspath(path))
    assert path.exists()
