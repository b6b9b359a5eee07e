"""The deadlines of a process against worlds in which it, its keeper, or the whole machine is stopped at any moment."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.supervision._process_plan import CONFIRM, Act, Phase, Plan

HEALTH = 100.0
STARTUP = 10.0
SHUTDOWN = 4.0


def plan(health: float | None = HEALTH) -> Plan:
    return Plan(1000.0, startup=STARTUP, shutdown=SHUTDOWN, health=health)


def test_without_heartbeats_it_is_up_at_once_and_never_looked_at() -> None:
    one = plan(None)
    assert (one.phase, one.due) == (Phase.RUNNING, math.inf)
    assert one.look(1e9, heard=False) is None
    assert one.due == math.inf


def test_the_first_heartbeat_says_that_it_is_up() -> None:
    one = plan()
    assert (one.phase, one.due) == (Phase.STARTING, 1010.0)
    assert one.look(1003.0, heard=True) is None
    assert (one.phase, one.due) == (Phase.RUNNING, 1103.0)


@pytest.mark.parametrize(
    ("is_up", "limit", "reason"),
    [(False, STARTUP, "not up after 10 s"), (True, HEALTH, "no heartbeat for 100 s")],
)
def test_a_silence_is_confirmed_by_a_second_look(is_up: bool, limit: float, reason: str) -> None:  # noqa: FBT001
    one = plan()
    assert one.look(1000.0, heard=is_up) is None
    assert one.look(1000.0 + limit - 0.1, heard=False) is None
    assert one.due == 1000.0 + limit
    assert one.look(one.due, heard=False) is None
    assert one.due == 1000.0 + limit * (1 + CONFIRM)
    assert one.look(one.due, heard=False) is Act.KILL
    assert (one.phase, one.overdue, one.due) == (Phase.KILLED, reason, math.inf)
    assert one.look(1e9, heard=False) is None


def test_a_heartbeat_between_two_looks_ends_the_suspicion() -> None:
    one = plan()
    one.look(1000.0, heard=True)
    one.look(1100.0, heard=False)
    assert one.look(1105.0, heard=True) is None
    assert one.due == 1205.0


def test_a_second_look_that_is_late_is_a_first_one() -> None:
    """We were stopped between the two, and so may the process have been."""
    one = plan()
    one.look(1000.0, heard=True)
    one.look(1100.0, heard=False)
    assert one.look(1100.0 + 3600.0, heard=False) is None
    assert one.look(one.due, heard=False) is Act.KILL


@pytest.mark.parametrize(("patience", "half"), [(math.inf, 2.0), (10.0, 2.0), (1.0, 0.5)])
def test_it_is_asked_then_told_then_killed(patience: float, half: float) -> None:
    one = plan()
    one.request_stop(1001.0, patience)
    assert one.due == 1001.0
    assert one.look(1001.0, heard=False) is Act.ASK
    assert one.look(1001.0 + half - 0.1, heard=False) is None
    assert one.look(one.due, heard=True) is Act.TERMINATE
    assert one.due == 1001.0 + 2 * half
    assert one.look(one.due, heard=True) is Act.KILL
    assert one.overdue == f"not down after {2 * half:g} s"


def test_a_keeper_that_was_stopped_leaves_no_step_out() -> None:
    one = plan()
    one.request_stop(1001.0)
    one.look(1001.0, heard=False)
    assert one.look(9000.0, heard=False) is Act.TERMINATE
    assert one.look(9001.9, heard=False) is None
    assert one.look(9002.0, heard=False) is Act.KILL


def test_a_second_request_only_ever_shortens_the_first() -> None:
    one = plan()
    one.request_stop(1001.0, 2.0)
    one.look(1001.0, heard=False)
    one.request_stop(1001.5, 60.0)
    assert one.due == 1002.0
    one.request_stop(1001.5, 0.2)
    assert one.due == 1001.6
    assert one.look(1001.6, heard=False) is Act.TERMINATE
    assert one.look(1001.7, heard=False) is Act.KILL
    one.request_stop(1002.0)
    assert one.phase is Phase.KILLED


BEAT = 30.0
"""Seconds between two heartbeats of a process that is well."""


class Machine(RuleBasedStateMachine):
    """A process and its keeper, each of which may be stopped and continued at any moment; else both are punctual."""

    @initialize(up=st.booleans())
    def begin(self, up: bool) -> None:  # noqa: FBT001
        self.now = 0.0
        self.plan = Plan(0.0, startup=STARTUP, shutdown=SHUTDOWN, health=HEALTH)
        self.stopped = {"keeper": False, "process": False}
        self.next_beat = 1.0 if up else STARTUP - 1
        self.beats = 0
        self.silent = 0.0  # seconds since the last beat in which it could not write one, and its keeper ran
        self.wedged = False
        self.acts: list[tuple[float, Act]] = []

    @rule(seconds=st.floats(0.01, 50), steps=st.integers(1, 8))
    def live(self, seconds: float, steps: int) -> None:
        """Let time go by, event by event."""
        for _ in range(steps):
            end = self.now + seconds
            while self.now < end:
                beat = math.inf if self.stopped["process"] or self.wedged else self.next_beat
                look = math.inf if self.stopped["keeper"] else self.plan.due
                before, self.now = self.now, max(self.now, min(end, beat, look))
                if beat == math.inf and not self.stopped["keeper"]:
                    self.silent += self.now - before
                if beat <= self.now:
                    self.beats, self.silent = self.beats + 1, 0.0
                    self.next_beat = self.now + BEAT
                elif look <= self.now:
                    self.look()

    @rule(
        who=st.sampled_from([("keeper",), ("process",), ("keeper", "process")]),
        seconds=st.floats(1, 400),
        moment=st.floats(0, 0.9),
    )
    def suspend(self, who: tuple[str, ...], seconds: float, moment: float) -> None:
        """SIGSTOP for a while; to both at once if the whole machine lies still, but for its clock.

        It takes a moment until the process runs again.
        """
        for one in who:
            self.stopped[one] = True
        self.live(seconds, 1)
        for one in who:
            self.stopped[one] = False
        if "process" in who:
            self.next_beat = max(self.next_beat, self.now + moment)

    @precondition(lambda self: self.now > 5 * HEALTH)  # the later, the more was seen before
    @rule()
    def wedge(self) -> None:
        self.wedged = True

    @precondition(lambda self: self.now > 5 * HEALTH and not self.acts and not self.stopped["keeper"])
    @rule(patience=st.floats(0, 10))
    def request_stop(self, patience: float) -> None:
        self.asked, self.patience = self.now, min(patience, SHUTDOWN)
        self.plan.request_stop(self.now, patience)
        self.look()

    def look(self) -> None:
        heard, self.beats = self.beats > 0, 0
        act = self.plan.look(self.now, heard=heard)
        if act is None:
            assert self.plan.due > self.now, "it would look without end"
            return
        self.acts.append((self.now, act))
        if act is Act.KILL and self.plan.overdue.startswith("no"):
            if self.plan.overdue.startswith("not down"):
                assert [one for _, one in self.acts] == [Act.ASK, Act.TERMINATE, Act.KILL]
            else:
                assert not heard
                assert self.silent, "killed although it was well"
                assert len(self.acts) == 1

    @invariant()
    def nobody_is_forgotten(self) -> None:
        if self.acts:
            assert self.acts[0][1] in {Act.ASK, Act.KILL}
        if self.plan.phase is Phase.KILLED:
            assert self.acts[-1][1] is Act.KILL
            assert self.plan.due == math.inf
        else:
            assert self.plan.due < math.inf


TestMachine = Machine.TestCase


@given(punctual=st.floats(0, 1), silence=st.floats(1.0, 1e4))
def test_one_that_falls_silent_is_killed_within_two_limits(punctual: float, silence: float) -> None:
    one = Plan(0.0, startup=STARTUP, shutdown=SHUTDOWN, health=HEALTH)
    one.look(0.5, heard=True)
    last, heard = 0.5, True
    while one.phase is not Phase.KILLED:
        now = one.due + punctual
        heard = last + BEAT <= min(now, silence)
        if heard:
            last += BEAT * ((min(now, silence) - last) // BEAT)
        one.look(now, heard=heard)
        assert now <= last + 2 * HEALTH * (1 + CONFIRM) + 3 * punctual
