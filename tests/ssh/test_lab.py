"""The private sshd itself: what other tests rely on."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.lab.sshd import DEADLINE, Sshd, wait_until

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]

LEAVES_ALL_BEHIND = """\
import os, subprocess, sys
from tests.lab.sshd import Sshd
remote = Sshd(account=os.geteuid() == 0).__enter__()
subprocess.run([*remote.client.ssh, "devbox", "sleep 600 >/dev/null 2>&1 </dev/null &"], check=True)
print(remote.directory, remote.client.directory, remote.user, remote._process.pid, flush=True)
sys.stdin.read()
"""


def run(remote: Sshd, command: str) -> str:
    argv = [*remote.client.ssh, "devbox", command]
    return subprocess.run(argv, env=remote.client.env(), capture_output=True, text=True, check=True).stdout


def test_the_remote_has_a_home_and_directories_of_its_own() -> None:
    with Sshd(env={"EXTRA": "a b"}) as remote:
        told = run(remote, 'echo "$HOME"; echo "$XDG_STATE_HOME"; echo "$EXTRA"; cd; pwd').splitlines()
        assert told == [os.fspath(remote.home), os.fspath(remote.state), "a b", os.fspath(remote.home)]


def test_it_stops_and_starts_on_the_same_port_and_leaves_nothing() -> None:
    with Sshd() as remote:
        port = remote.port
        run(remote, "sleep 600 >/dev/null 2>&1 </dev/null &")
        (daemon,) = remote.leftovers()
        remote.stop()
        assert daemon.is_running()
        remote.start()
        assert remote.port == port
        assert run(remote, "echo x") == "x\n"
        directories = [remote.directory, remote.client.directory]
    assert not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE
    assert not any(directory.exists() for directory in directories)


@pytest.mark.skipif(os.geteuid() != 0, reason="a second account can only be made by root")
def test_a_second_account_is_gone_with_its_processes() -> None:
    with Sshd(account=True) as remote:
        assert run(remote, "id -un").strip() == remote.user != "root"
        run(remote, "sleep 600 >/dev/null 2>&1 </dev/null &")
        (daemon,) = remote.leftovers()
    assert not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE
    with pytest.raises(KeyError):
        pwd.getpwnam(remote.user)


def test_what_a_killed_test_left_is_removed_by_the_next() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(ROOT), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", LEAVES_ALL_BEHIND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as child:
        assert child.stdout
        directory, client, user, pid = child.stdout.readline().decode().split()
        child.send_signal(signal.SIGKILL)
    assert Path(directory).exists()
    listener = psutil.Process(int(pid))
    with Sshd(account=os.geteuid() == 0):
        wait_until(lambda: not listener.is_running() or listener.status() == psutil.STATUS_ZOMBIE, "killed", DEADLINE)
        assert not Path(directory).exists()
        assert not Path(client).exists()
        if os.geteuid() == 0:
            with pytest.raises(KeyError):
                pwd.getpwnam(user)
