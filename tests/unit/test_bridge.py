from __future__ import annotations

import itertools
import json
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.launch import bridge as module
from nssh.launch.bridge import INTENSITY, PERIOD, Bridge
from nssh.launch.session import Session
from nssh.ssh.identity import Target
from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def session(log: str) -> Session:
    target = Target("h", ("ssh",), (), {})
    return Session(
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


class World:
    """A clock that is set by hand, and a place where processes are counted instead of started."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pids = itertools.count(100)
        self.started: list[float] = []
        self.broken = False

    def monotonic(self) -> float:
        return self.now

    def start(self, _argv: list[str], **_files: object) -> int:
        if self.broken:
            raise OSError(11, "no more processes")
        self.started.append(self.now)
        return next(self.pids)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return install(World(), monkeypatch)


def install(world: World, patch: pytest.MonkeyPatch) -> World:
    patch.setattr(module, "time", world)
    patch.setattr(module, "spawn", world)
    return world


def die(bridge: Bridge) -> None:
    assert bridge.running
    assert bridge.ended(bridge._pid)


def restart_delays(bridge: Bridge, world: World, deaths: int) -> list[float]:
    """Let the bridge die at once after each start; return how long each restart took."""
    delays = []
    for _ in range(deaths):
        die(bridge)
        before = world.now
        while not bridge.running and not bridge.gave_up:
            left = bridge.tick()
            assert left is None or left > 0
            world.now += left or 0.0
        if bridge.gave_up:
            break
        delays.append(world.now - before)
    return delays


def test_it_is_restarted_at_once_then_later_and_later_and_given_up_at_the_sixth_death(
    world: World, tmp_path: Path
) -> None:
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    assert restart_delays(bridge, world, 10) == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert (bridge.gave_up, bridge.running, bridge.tick()) == (True, False, None)
    assert bridge.session.restarts == INTENSITY == 5
    bridge.tell(child=7)
    bridge.close()


def test_deaths_that_are_long_past_do_not_count(world: World, tmp_path: Path) -> None:
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    for _ in range(20):
        assert restart_delays(bridge, world, 1) == [0.0]
        world.now += PERIOD
    assert not bridge.gave_up
    assert bridge.session.restarts == 20
    bridge.close()


@given(lives=st.lists(st.floats(0, 30), max_size=40))
def test_it_is_given_up_exactly_when_six_deaths_fall_into_a_minute(lives: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = install(World(), patch)
        bridge = Bridge(session("/nonexistent/log"))
        bridge.start()
        deaths: list[float] = []
        for life in lives:
            world.now += life
            deaths.append(world.now)
            die(bridge)
            recent = [death for death in deaths if world.now - death < PERIOD]
            assert bridge.gave_up == (len(recent) > INTENSITY)
            if bridge.gave_up:
                assert bridge.tick() is None
                break
            while not bridge.running:
                world.now += bridge.tick() or 0.0
            assert world.now - deaths[-1] <= 8.0
        bridge.close()


def test_a_start_that_fails_counts_as_a_death_and_disturbs_nobody(world: World, tmp_path: Path) -> None:
    world.broken = True
    before = len(os.listdir("/dev/fd"))
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    assert (bridge.running, bridge.gave_up) == (False, False)
    while not bridge.gave_up:
        world.now += bridge.tick() or 0.0
    assert world.started == []
    assert len(os.listdir("/dev/fd")) == before
    world.broken = False
    assert bridge.tick() is None


def test_one_that_heals_after_a_failed_start_goes_on(world: World, tmp_path: Path) -> None:
    world.broken = True
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    world.broken = False
    assert bridge.tick() is None
    assert bridge.running
    bridge.close()


def test_other_children_are_none_of_its_business(world: World, tmp_path: Path) -> None:
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    assert not bridge.ended(99)
    assert bridge.running
    bridge.close()


def test_the_end_it_is_asked_for_is_no_death(world: World, tmp_path: Path) -> None:
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    bridge.close()
    bridge.close()
    die(bridge)
    assert (bridge.running, bridge.tick(), bridge.session.restarts) == (False, None, 0)


def test_nothing_is_started_once_it_is_closed(world: World, tmp_path: Path) -> None:
    bridge = Bridge(session(str(tmp_path / "log")))
    bridge.start()
    die(bridge)
    bridge.close()
    assert bridge.tick() is None
    assert len(world.started) == 1


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
        pid, _ = os.waitpid(self.bridge._pid, 0)
        assert self.bridge.ended(pid)


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
    os.kill(real.bridge._pid, signal.SIGKILL)
    real.wait()
    assert real.bridge.tick() is None
    assert real.bridge.running
    until(lambda: len(real.told()) == 3)
    assert (real.told()[2]["child"], real.told()[2]["restarts"]) == (5, 1)
    assert len(real.lines("started")) == 2


def test_news_for_one_that_has_just_died_are_kept_for_the_next(real: Real) -> None:
    real.bridge.start()
    until(real.told)
    os.kill(real.bridge._pid, signal.SIGKILL)
    os.waitid(os.P_PID, real.bridge._pid, os.WEXITED | os.WNOWAIT)
    real.bridge.tell(child=6)
    real.wait()
    real.bridge.tick()
    until(lambda: len(real.told()) == 2)
    assert real.told()[1]["child"] == 6


def test_its_files_stay_its_own(real: Real) -> None:
    """The pipe's end that the launcher holds must not live on in ssh, or the bridge would never see its end."""
    before = len(os.listdir("/dev/fd"))
    real.bridge.start()
    assert len(os.listdir("/dev/fd")) == before + 1
    with subprocess.Popen(["sleep", "1000"], close_fds=False) as other:
        real.bridge.close()
        real.wait()
        other.kill()
    assert len(os.listdir("/dev/fd")) == before


def test_a_log_that_can_not_be_made_is_no_obstacle(real: Real) -> None:
    real.bridge.session = real.bridge.session._replace(log=str(real.path / "missing" / "log"))
    real.bridge.start()
    until(real.told)
