from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nssh.base import spawn
from nssh.state.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLDER = """\
import sys
from nssh.state.lease import Lease
lease = Lease(sys.argv[1])
print(lease.acquire(), flush=True)
for line in sys.stdin:
    print(lease.acquire() if line == 'acquire\\n' else lease.release(), flush=True)
"""


class Holder:
    """Another process that does with a lease what it is told."""

    def __init__(self, path: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.got = self._answer() == "True"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holder(lease_path: str) -> Iterator[Holder]:
    one = Holder(lease_path)
    yield one
    one.end()


def test_one_of_two_processes_has_it_and_the_other_gets_it_after_it(lease_path: str, holder: Holder) -> None:
    mine = Lease(lease_path)
    assert (holder.got, mine.acquire(), mine.held) == (True, False, False)
    holder.tell("release")
    assert (mine.acquire(), mine.held) == (True, True)
    assert holder.tell("acquire") == "False"
    mine.release()
    assert not mine.held
    assert holder.tell("acquire") == "True"


def test_death_frees_it(lease_path: str, holder: Holder) -> None:
    mine = Lease(lease_path)
    assert not mine.acquire()
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait()
    assert mine.acquire()


def test_a_holder_that_is_stopped_keeps_it(lease_path: str, holder: Holder) -> None:
    holder.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.process.pid, os.WSTOPPED | os.WNOWAIT)
    assert not Lease(lease_path).acquire()


def test_of_many_at_once_one_gets_it(lease_path: str) -> None:
    holders = [Holder(lease_path) for _ in range(5)]
    try:
        assert [one.got for one in holders].count(True) == 1
    finally:
        for one in holders:
            one.end()


def test_two_in_one_process_exclude_each_other_and_asking_again_changes_nothing(lease_path: str) -> None:
    one, two = Lease(lease_path), Lease(lease_path)
    assert (one.acquire(), one.acquire(), two.acquire()) == (True, True, False)
    one.release()
    one.release()
    assert (two.acquire(), one.acquire()) == (True, False)
    two.release()


def test_children_that_live_on_do_not_keep_it(lease_path: str) -> None:
    lease = Lease(lease_path)
    lease.acquire()
    reader, writer = os.pipe()
    try:
        pid = spawn.start(["cat"], stdin=reader)
        with subprocess.Popen(["cat"], stdin=reader, close_fds=False) as other:
            lease.release()
            assert Lease(lease_path).acquire()
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            assert other.poll() is None
            os.close(writer)
        os.waitpid(pid, 0)
    finally:
        os.close(reader)


def test_a_failed_attempt_leaves_no_file_open(lease_path: str, holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    mine = Lease(lease_path)
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for _ in range(3):
        assert not mine.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="no locks"):
                mine.acquire()
    assert not mine.held
    if before:
        assert len(os.listdir("/proc/self/fd")) == len(before)


def test_its_file_is_private_and_empty_and_no_symlink(lease_path: str, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Lease(lease_path).acquire()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(lease_path).st_mode) == 0o600
    assert Path(lease_path).read_bytes() == b""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"):
        Lease(str(tmp_path / "link")).acquire()
    assert not (tmp_path / "target").exists()
    with pytest.raises(FileNotFoundError):
        Lease(str(tmp_path / "missing" / "lease")).acquire()


def test_a_file_that_was_removed_is_nobodys_lease(tmp_path: Path) -> None:
    """As when old files are cleared away: whoever had it open would hold another lease than the next one."""
    path = tmp_path / "lease"
    first, second = Lease(str(path)), Lease(str(path))
    flock = fcntl.flock

    def remove_then_lock(fd: int, how: int) -> None:
        path.unlink()
        flock(fd, how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", remove_then_lock)
        assert not first.acquire()
    assert second.acquire()
    assert not first.acquire()
    second.release()
    assert first.acquire()
