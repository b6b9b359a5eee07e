from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from actors.supervision import Backoff
from nssh.base.clock import uptime
from nssh.launch import bridge as module
from nssh.launch.bridge import INTENSITY, Bridge
from nssh.launch.session_info import SessionInfo
from nssh.ssh.identity import Target
from nssh.state import session_records
from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def session(log: str) -> SessionInfo:
    target = Target("h", ("ssh",), (), {})
    return SessionInfo(
        1,
        "b",
        "s",
        target,
        "k",
        "relay",
        "nssh_topic",
        "l",
        "e",
        log,
        "f",
        "c",
        own_control=True,
        login_first=False,
        transport="",
    )


# What is decided about restarts is tested in tests/supervision/test_process_supervisor.py.


def test_it_is_restarted_at_once_then_later_and_later(tmp_path: Path) -> None:
    assert [module._BACKOFF.delay(death, lambda: 1.0) for death in range(1, INTENSITY + 1)] == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_a_bridge_that_keeps_dying_is_given_up_and_the_record_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_BACKOFF", Backoff(0.0))
    here = session_records.Record(
        pid=1, target="h", host="h", topic="nssh_topic", server="relay", started="s", log="l", bridge=7, bus="up"
    )
    session_records.write(here)
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    until(lambda: bridge.tick() is None and bridge.gave_up)
    assert (bridge.running, bridge.session.restarts) == (False, INTENSITY)
    words = f"the bridge died 6 times and was given up; see {tmp_path}/log.err"
    assert bridge.last_words == words
    record = session_records.read(session_records.path_of(1))
    assert record is not None
    assert (record.bridge, record.bus, record.problem) == (0, "", words)
    session_records.remove(1)
    bridge.tell(child=7)
    bridge.close()
    assert bridge.tick() is None
    assert session_records.read(session_records.path_of(1)) is None, "the record is written once"


def test_a_start_that_fails_counts_as_a_death_and_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    before = len(os.listdir("/dev/fd"))
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    assert not bridge.running
    assert bridge.tick() is not None, "the second restart waits"
    assert (bridge.running, bridge.gave_up) == (False, False)
    bridge.tell(child=5)
    bridge.close()
    assert bridge.tick() is None
    assert len(os.listdir("/dev/fd")) == before


def test_other_children_are_none_of_its_business(real: Real) -> None:
    real.bridge.start()
    assert not real.bridge.ended(99, 0)
    assert real.bridge.running


def test_the_end_it_is_asked_for_is_no_death(real: Real) -> None:
    real.bridge.start()
    real.bridge.close()
    real.bridge.close()
    real.wait()
    assert (real.bridge.running, real.bridge.tick(), real.bridge.session.restarts) == (False, None, 0)


# With real processes: a program in place of Python that writes down what it is told.

RECORDER = """\
#!/bin/sh
printf '%s\\n' "$$ $*" >> {0}.started
while IFS= read -r line; do printf '%s\\n' "$line" >> {0}.told; done
echo traceback >&2
echo end >> {0}.ended
"""


class Real:
    """A bridge whose process is the recorder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bridge = Bridge(session(str(path / "log")))

    def lines(self, what: str) -> list[str]:
        file = self.path / f"record.{what}"
        return file.read_text().splitlines() if file.exists() else []

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines("told")]

    def wait(self) -> None:
        """Take the news of its end, as the launcher's loop does."""
        assert self.bridge.ended(*os.waitpid(self.pid, 0))

    @property
    def pid(self) -> int:
        return self.bridge._kept.pid


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    program = tmp_path / "python"
    program.write_text(RECORDER.format(tmp_path / "record"))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    one = Real(tmp_path)
    yield one
    one.bridge.close()
    if one.bridge.running:
        one.wait()


def test_the_process_is_told_the_session_on_a_pipe_and_nothing_in_argv(real: Real) -> None:
    real.bridge.start()
    until(real.told)
    [told] = real.told()
    assert (told["topic"], told["log"]) == ("nssh_topic", str(real.path / "log"))
    [started] = real.lines("started")
    assert started.split()[1:] == ["-P", "-m", "actors"]
    real.bridge.tell(child=5, transport="mosh")
    until(lambda: len(real.told()) == 2)
    assert (real.told()[1]["child"], real.told()[1]["transport"]) == (5, "mosh")


def test_it_ends_when_the_pipe_does_and_what_it_says_goes_to_a_private_file(real: Real) -> None:
    before = os.umask(0)
    try:
        real.bridge.start()
    finally:
        os.umask(before)
    real.bridge.close()
    real.wait()
    assert real.lines("ended") == ["end"]
    assert (real.path / "log.err").read_text() == "traceback\n"
    assert stat.S_IMODE((real.path / "log.err").stat().st_mode) == 0o600
    assert (real.bridge.running, real.bridge.tick()) == (False, None)


def test_a_killed_one_is_followed_by_one_that_knows_all_the_news(real: Real) -> None:
    real.bridge.start()
    real.bridge.tell(child=5)
    until(lambda: len(real.told()) == 2)
    os.kill(real.pid, signal.SIGKILL)
    real.wait()
    real.bridge.tick()
    assert real.bridge.running, "it is started at once"
    until(lambda: len(real.told()) == 3)
    assert (real.told()[2]["child"], real.told()[2]["restarts"]) == (5, 1)
    assert len(real.lines("started")) == 2


@pytest.mark.parametrize(
    ("bus", "mine", "heard"),
    [("up", True, "its end"), ("down", True, 70.0), ("", True, 70.0), ("up", False, 30.0)],
)
def test_the_next_one_knows_when_the_bus_was_last_heard(
    real: Real, monkeypatch: pytest.MonkeyPatch, bus: str, heard: object, *, mine: bool
) -> None:
    """By the record of the one that died; without one of its own, it is as it was before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(real.path))
    real.bridge = Bridge(session(str(real.path / "log"))._replace(bus_heard=30.0))
    real.bridge.start()
    record = session_records.Record(1, "h", "h", "nssh_topic", "relay", "s", "l", birth="b")
    session_records.write(record._replace(bridge=real.pid if mine else 7, bus=bus, bus_heard=70.0))
    until(real.told)
    before = uptime()
    os.kill(real.pid, signal.SIGKILL)
    real.wait()
    real.bridge.tick()
    until(lambda: len(real.told()) == 2)
    told = real.told()[1]["bus_heard"]
    assert before <= told <= uptime() if heard == "its end" else told == heard
    session_records.remove(1)


def test_one_that_gives_no_sign_of_life_is_followed_by_the_next(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STARTUP", 0.5)
    real.bridge = Bridge(real.bridge.session)
    real.bridge.start()
    first = real.pid
    end = time.monotonic() + 30
    while real.pid in {0, first}:  # as the launcher's loop, which is punctual
        assert time.monotonic() < end
        time.sleep(real.bridge.tick() or 0.0)
    assert real.bridge.session.restarts == 1
    until(lambda: len(real.told()) == 2)


def test_news_for_one_that_has_just_died_are_kept_for_the_next(real: Real) -> None:
    real.bridge.start()
    until(real.told)
    os.kill(real.pid, signal.SIGKILL)
    os.waitid(os.P_PID, real.pid, os.WEXITED | os.WNOWAIT)
    real.bridge.tell(child=6)
    real.wait()
    real.bridge.tick()
    until(lambda: len(real.told()) == 2)
    assert real.told()[1]["child"] == 6


def test_its_files_stay_its_own(real: Real) -> None:
    """The pipe's end that the launcher holds must not live on in ssh, or the bridge would never see its end."""
    before = len(os.listdir("/dev/fd"))
    real.bridge.start()
    with subprocess.Popen(["sleep", "1000"], close_fds=False) as other:
        real.bridge.close()
        real.wait()
        other.kill()
    assert len(os.listdir("/dev/fd")) == before


def test_a_log_that_can_not_be_made_is_no_obstacle(real: Real) -> None:
    real.bridge = Bridge(session(str(real.path / "missing" / "log")))
    real.bridge.start()
    until(real.told)
