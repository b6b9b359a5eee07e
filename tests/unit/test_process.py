from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.base import process
from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as started:
        yield started
        started.kill()


def is_zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_birth_stays(child: subprocess.Popen[bytes]) -> None:
    born = process.birth(child.pid)
    assert born == process.birth(child.pid) != ""
    assert process.is_same(child.pid, born)


def test_processes_of_one_moment_are_told_apart_by_their_pids() -> None:
    """Two of them share a birth; what is known of the one that has ended is never taken for the other."""
    seen: dict[str, subprocess.Popen[bytes]] = {}
    with contextlib.ExitStack() as stack:
        while True:
            # Two that are started in a row share a tick sooner or later.
            other = stack.enter_context(subprocess.Popen(["sleep", "1000"]))
            stack.callback(other.kill)
            born = process.birth(other.pid)
            if born in seen:
                break
            seen[born] = other
        one = seen[born]
        one.kill()
        one.wait()
        assert process.is_same(other.pid, born)
        assert not process.is_same(one.pid, born)
        assert not process.terminate(one.pid, born)
        assert other.poll() is None


def test_a_birth_is_the_same_seen_from_another_process(child: subprocess.Popen[bytes]) -> None:
    code = f"from nssh.base import process; print(process.birth({child.pid}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == process.birth(child.pid)


def test_a_name_with_brackets_and_blanks_hides_nothing(tmp_path: os.PathLike[str]) -> None:
    odd = os.path.join(tmp_path, "a) Z 1 (b")
    os.symlink("/bin/sleep", odd)
    with subprocess.Popen([odd, "1000"]) as started:
        born = process.birth(started.pid)
        started.kill()
    assert born.rpartition("/")[2].isdigit()


def test_the_dead_and_the_undead_have_none(child: subprocess.Popen[bytes]) -> None:
    born = process.birth(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: is_zombie(child.pid))
    assert process.birth(child.pid) == ""
    assert not process.is_same(child.pid, born)
    child.wait()
    assert process.birth(child.pid) == ""


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 7, 2**31 - 1, 2**70])
def test_a_pid_that_can_not_be_is_nobody(pid: int) -> None:
    assert process.birth(pid) == ""
    assert not process.is_same(pid, "")
    assert not process.is_same(pid, process.birth(os.getpid()))
    assert not process.terminate(pid, "")


def test_only_the_one_that_is_meant_is_signalled(child: subprocess.Popen[bytes]) -> None:
    born = process.birth(child.pid)
    for other in ("", "x", process.birth(os.getpid()), born[:-1], born + "0", born.replace("/", "")):
        assert not process.terminate(child.pid, other)
    assert child.poll() is None
    assert process.terminate(child.pid, born)
    assert child.wait() == -signal.SIGTERM
    assert not process.terminate(child.pid, born)


def test_a_reused_pid_is_not_signalled(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The PID is there, and belongs to a process that was born at another time, or in another boot."""
    boot, _, ticks = process.birth(child.pid).partition("/")
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _number: signalled.append(pid))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: signalled.append(0), raising=False)
    assert not process.terminate(child.pid, f"{boot}/{int(ticks) - 1}")
    assert not process.terminate(child.pid, f"{boot[::-1]}x/{ticks}")
    assert signalled == []


def test_nssh_never_signals_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _number: signalled.append(pid))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: signalled.append(0), raising=False)
    assert not process.terminate(os.getpid(), process.birth(os.getpid()), signal.SIGKILL)
    assert signalled == []


def test_another_signal(child: subprocess.Popen[bytes]) -> None:
    assert process.terminate(child.pid, process.birth(child.pid), signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_one_that_ends_in_between_is_no_error(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    born = process.birth(child.pid)
    child.kill()
    child.wait()
    monkeypatch.setattr(process, "birth", lambda _pid: born)
    assert not process.terminate(child.pid, born)


def test_where_there_is_no_proc_psutil_tells(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    born = process.birth(child.pid)
    assert abs(float(born) - psutil.Process(child.pid).create_time()) < 1
    assert process.is_same(child.pid, born)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: is_zombie(child.pid))
    assert process.birth(child.pid) == ""
    child.wait()
    assert process.birth(child.pid) == ""


def test_what_proc_does_not_let_us_read_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    born = process.birth(os.getppid())
    monkeypatch.setattr(process, "open", refuse, raising=False)
    assert not process.is_same(os.getppid(), born)


def test_a_pid_that_is_reused_behind_the_first_look_is_not_signalled(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    born = process.birth(child.pid)
    births = iter([born, "another/1"])
    monkeypatch.setattr(process, "birth", lambda _pid: next(births))
    assert not process.terminate(child.pid, born, signal.SIGKILL)
    assert child.poll() is None


def test_a_system_without_handles_of_processes(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert process.terminate(child.pid, process.birth(child.pid))
    assert child.wait() == -signal.SIGTERM


def test_whether_a_process_is_stopped(child: subprocess.Popen[bytes]) -> None:
    assert not process.is_stopped(child.pid)
    os.kill(child.pid, signal.SIGSTOP)
    until(lambda: process.is_stopped(child.pid))
    os.kill(child.pid, signal.SIGCONT)
    until(lambda: not process.is_stopped(child.pid))
    assert not process.is_stopped(2**22 + 7)


@pytest.mark.parametrize("kernel", ["tells", "can't tell"])
def test_the_end_of_a_process_that_is_no_child_is_waited_for(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel != "tells":
        monkeypatch.delattr(os, "pidfd_open")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        end = process.End(cat.pid, process.birth(cat.pid))
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(end.wait()))
        thread.start()
        assert thread.is_alive()
        cat.kill()
        thread.join(20)
    assert seen == [True]
    end.close()
    assert process.End(cat.pid, "another").wait()


def test_the_wait_for_a_process_can_be_ended() -> None:
    end = process.End(os.getpid(), process.birth(os.getpid()))
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(end.wait()))
    thread.start()
    end.close()
    thread.join(20)
    assert seen == [False]
