"""Whom ending a session may touch; whole sessions are ended in tests/session."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.base import process
from nssh.meeting import end_session
from nssh.state import session_records
from nssh.state.session_records import Record
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no nssh, with a child."""
    with subprocess.Popen(["sh", "-c", "sleep 1000 & wait"]) as parent:
        wait_until(lambda: psutil.Process(parent.pid).children(), "it has a child")
        [child] = psutil.Process(parent.pid).children()
        yield parent
        child.kill()
        parent.kill()


def record(pid: int, **fields: str) -> Record:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    return Record(pid, "devbox", "devbox", "nssh_x", "relay", started, "", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("ours", [True, False])
def test_what_is_no_nssh_is_left_alone_with_its_children_whatever_its_record_says(
    state: Path, family: subprocess.Popen[bytes], *, ours: bool
) -> None:
    """PID and birth may even be right, as in a record that somebody made by hand: think of init, and its children."""
    found = record(family.pid, birth=process.birth(family.pid) if ours else "")
    session_records.write(found)
    [child] = psutil.Process(family.pid).children()
    end_session.end([found])
    assert family.poll() is None
    assert child.is_running()
    assert session_records.read(session_records.path_of(family.pid)) is None


def test_an_nssh_of_another_birth_is_left_alone(state: Path, family: subprocess.Popen[bytes]) -> None:
    end_session.end([record(family.pid, birth="otherboot/1")])
    assert family.poll() is None


class Clock:
    """The time as the module has it; who sleeps moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    "ends_after", [0.0, end_session.PATIENCE - 2 * end_session._PAUSE, end_session.PATIENCE + end_session._PAUSE]
)
def test_who_does_not_end_by_itself_is_killed_when_patience_is_over(
    state: Path, monkeypatch: pytest.MonkeyPatch, ends_after: float
) -> None:
    clock = Clock()
    signals: list[tuple[float, int]] = []

    def terminate(_pid: int, _birth: str, number: int = signal.SIGTERM) -> bool:
        signals.append((clock.now, number))
        return True

    def is_same(*_: object) -> bool:
        return clock.now < ends_after and signals[-1][1] != signal.SIGKILL

    monkeypatch.setattr(end_session, "time", clock)
    monkeypatch.setattr(end_session, "_processes", lambda _: [end_session.SessionProcess(2**22 + 7, "x/1")])
    monkeypatch.setattr(process, "terminate", terminate)
    monkeypatch.setattr(process, "is_same", is_same)
    end_session.end([record(2**22 + 7, birth="x/1")])
    assert signals[0] == (0.0, signal.SIGTERM)
    killed = [when for when, number in signals if number == signal.SIGKILL]
    if ends_after < end_session.PATIENCE:
        assert killed == []
    else:
        assert killed == [pytest.approx(end_session.PATIENCE, abs=2 * end_session._PAUSE)]


@pytest.mark.parametrize("ours", [True, False])
def test_an_nssh_is_ended_with_its_children(state: Path, tmp_path: Path, *, ours: bool) -> None:
    script = tmp_path / "nssh"
    script.write_text("sleep 1000 & wait")
    with subprocess.Popen(["sh", script]) as launcher:
        wait_until(lambda: psutil.Process(launcher.pid).children(), "it has a child")
        [child] = psutil.Process(launcher.pid).children()
        found = record(launcher.pid, birth=process.birth(launcher.pid) if ours else "")
        end_session.end([found])
        wait_until(lambda: not process.birth(child.pid), "its child is gone")
        assert launcher.wait(10) < 0
