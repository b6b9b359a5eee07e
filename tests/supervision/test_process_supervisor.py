"""One process kept by somebody else's loop: when it is started again, and when that is given up."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.supervision import Backoff, ChildSpec, Ended, ProcessSupervisor, Program, Restart
from actors.supervision import _process_supervisor as module
from actors.supervision._process_supervisor import fraction
from tests.supervision.programs import PATIENCE, READER, SLEEP, beating, child, children

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.real  # these tests start programs

AT_ONCE = Backoff(0.5, 2.0, 8.0, 0.0, quiet=60.0, at_once=1)


class World:
    """Time that the test moves, and processes that end when it says so."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.pids = itertools.count(100)
        self.started: list[float] = []
        self.broken = False
        self.ended: Ended | None = None
        limits: dict[str, Any] = {"intensity": 5, "period": 60.0, "backoff": AT_ONCE} | options
        spec = ChildSpec("child", Program(("program",)), limits.pop("restart", Restart.PERMANENT))
        self.kept = ProcessSupervisor(spec, clock=lambda: self.now, **limits)

    def make(self, _spec: ChildSpec) -> FakeProcess:
        return FakeProcess(self)

    def die(self, status: int = 1) -> None:
        assert self.kept.pid
        self.ended = Ended(f"exit status {status}" if status else "", status)
        self.kept.tick()

    def wait(self) -> float:
        """Let time pass until it is started again, or given up; return how long that took."""
        began = self.now
        while not self.kept.pid and not self.kept.gave_up:
            self.now += self.kept.tick() or 0.0
        return self.now - began


class FakeProcess:
    def __init__(self, world: World) -> None:
        self.world = world
        self.pid = 0
        self.due = float("inf")

    def start(self, now: float) -> None:
        if self.world.broken:
            raise OSError(11, "no more processes")
        self.world.started.append(now)
        self.pid = next(self.world.pids)

    def step(self, _now: float) -> Ended | None:
        ended, self.world.ended = self.world.ended, None
        return ended

    def request_stop(self, _now: float, _patience: float) -> None:
        pass


def world_of(patch: pytest.MonkeyPatch, **options: Any) -> World:
    world = World(**options)
    patch.setattr(module, "Process", world.make)
    world.kept.start()
    return world


def test_it_is_restarted_at_once_then_later_and_later_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch)
    waits = []
    while not world.kept.gave_up:
        world.die()
        waits.append(world.wait())
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 0.0]
    assert (world.kept.restarts, world.kept.pid, world.kept.tick()) == (5, 0, None)


def test_a_quiet_life_makes_the_next_death_a_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch)
    for _ in range(20):
        world.die()
        assert world.wait() == 0.0
        world.now += 60.0
    assert not world.kept.gave_up


@given(lives=st.lists(st.floats(0, 30), max_size=40))
def test_it_is_given_up_exactly_when_six_deaths_fall_into_a_minute(lives: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = world_of(patch)
        deaths: list[float] = []
        for life in lives:
            world.now += life
            deaths.append(world.now)
            world.die()
            recent = [death for death in deaths if death >= world.now - 60.0]
            assert world.kept.gave_up == (len(recent) > 5)
            if world.kept.gave_up:
                break
            assert world.wait() <= 8.0


@pytest.mark.parametrize(
    ("restart", "status", "again"),
    [
        (Restart.PERMANENT, 0, True),
        (Restart.PERMANENT, 1, True),
        (Restart.TRANSIENT, 0, False),
        (Restart.TRANSIENT, 1, True),
        (Restart.TEMPORARY, 0, False),
        (Restart.TEMPORARY, 1, False),
    ],
)
def test_who_is_started_again(monkeypatch: pytest.MonkeyPatch, restart: Restart, status: int, again: bool) -> None:  # noqa: FBT001
    world = world_of(monkeypatch, restart=restart)
    world.die(status)
    assert bool(world.kept.pid) == again
    assert (world.kept.restarts, world.kept.gave_up) == (int(again), False)
    assert world.kept.error == ("exit status 1" if status else "")


def test_a_start_that_fails_is_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch)
    world.broken = True
    world.die()
    assert world.kept.error == "no more processes"
    world.wait()
    assert world.kept.gave_up
    assert len(world.started) == 1


def test_one_that_heals_after_a_failed_start_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch)
    world.broken = True
    world.die()
    world.broken = False
    world.wait()
    assert world.kept.pid


def test_limits_under_which_it_would_never_be_given_up_are_refused() -> None:
    with pytest.raises(ValueError, match="would never escalate"):
        World(intensity=20)


def test_the_jitter_is_a_fraction() -> None:
    assert all(0 <= fraction() <= 1 for _ in range(100))


# With real processes.


def kept(spec: ChildSpec, **options: Any) -> ProcessSupervisor:
    limits: dict[str, Any] = {"backoff": Backoff(0.0)} | options
    one = ProcessSupervisor(spec, **limits)
    one.start()
    return one


def drive(one: ProcessSupervisor, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        wait = one.tick()
        time.sleep(0.01 if wait is None else min(wait, 0.01))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_killed_one_is_followed_by_the_next(number: int) -> None:
    told: list[int] = []
    one = kept(child(*SLEEP), on_start=lambda: told.append(1))
    first = one.pid
    os.kill(first, number)
    drive(one, lambda: one.pid not in {0, first})
    assert (one.restarts, len(told)) == (1, 2)
    assert one.error == f"killed by {signal.Signals(number).name}"
    one.close()
    drive(one, lambda: not one.pid)
    assert one.tick() is None


def test_one_that_falls_silent_is_followed_by_the_next() -> None:
    one = kept(child(*beating(), health=0.5))
    first = one.pid
    os.kill(first, signal.SIGSTOP)
    drive(one, lambda: one.pid not in {0, first})
    assert one.error in {"no heartbeat for 0.5 s", "not up after 10 s"}
    one.close()
    drive(one, lambda: not one.pid)


@pytest.mark.parametrize("argv", [("false",), ("true",), ("/nonexistent/program",), ("sh", "-c", "kill -KILL $$")])
def test_a_crash_loop_has_an_end(argv: tuple[str, ...]) -> None:
    before = children()
    one = kept(child(*argv))
    drive(one, lambda: one.gave_up)
    assert (one.restarts, one.pid, one.tick()) == (5, 0, None)
    assert children() <= before


def test_it_is_let_go_by_the_end_of_its_pipe_and_nothing_is_started_then() -> None:
    one = kept(child(*READER, input=True))
    one.write(b"something")
    one.close()
    one.close()
    drive(one, lambda: not one.pid)
    one.write(b"nobody")
    assert (one.tick(), one.restarts, one.gave_up, one.error) == (None, 0, False, "")


def test_nothing_is_started_once_it_is_closed() -> None:
    one = kept(child("false"), backoff=Backoff(1.0, maximum=1.0))
    drive(one, lambda: one.restarts == 1)
    one.close()
    assert (one.tick(), one.pid) == (None, 0)


def test_an_owner_that_collects_all_its_children_hands_over_its_end() -> None:
    one = kept(child(*SLEEP), backoff=Backoff(1.0, maximum=1.0))
    assert not one.ended(os.getpid(), 0)
    pid = one.pid
    os.kill(pid, signal.SIGKILL)
    assert one.ended(*os.waitpid(pid, 0))
    assert (one.pid, one.restarts) == (0, 1)
    one.close()
