"""The restart arithmetic against a naive model of it, on invented time."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.supervision import Attempts, Backoff, RestartWindow
from actors.supervision._restarts import check_reachable

seconds = st.floats(min_value=0, max_value=1e6)
positive = st.floats(min_value=1e-3, max_value=1e6)
fractions = st.floats(min_value=0, max_value=1)


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    low, high = sorted([draw(seconds), draw(seconds)])
    factor = draw(st.floats(min_value=1, max_value=100))
    return Backoff(low, factor, high, draw(fractions), quiet=draw(seconds), at_once=draw(st.integers(0, 3)))


class RestartMachine(RuleBasedStateMachine):
    """One child that fails after lives of any length: window and attempts must agree with lists of times."""

    @initialize(intensity=st.integers(0, 6), period=positive, backoff=backoffs())
    def begin(self, intensity: int, period: float, backoff: Backoff) -> None:
        self.now = 0.0
        self.times: list[float] = []
        self.in_a_row = 0
        self.backoff = backoff
        self.window = RestartWindow(intensity, period)
        self.fraction = 0.5
        self.attempts = Attempts(backoff, lambda: self.fraction)

    @rule(pause=seconds)
    def quiet(self, pause: float) -> None:
        self.now += pause

    @rule(uptime=seconds, fraction=fractions)
    def fail(self, uptime: float, fraction: float) -> None:
        self.now += uptime
        self.times.append(self.now)
        recent = [time for time in self.times if time >= self.now - self.window.period]
        assert self.window.record(self.now) == (len(recent) <= self.window.intensity)
        self.in_a_row = 1 if uptime >= self.backoff.quiet else self.in_a_row + 1
        self.fraction = fraction
        delay = self.attempts.next_delay(uptime)
        assert delay == self.backoff.delay(self.in_a_row, lambda: fraction)
        self.now += delay

    @rule()
    def fail_on_the_edge(self) -> None:
        # exactly one period after an earlier restart, which then still counts
        if self.times:
            edge = self.times[-1] + self.window.period
            assume(edge >= self.now)
            self.fail(edge - self.now, 0.5)

    @invariant()
    def counts_what_the_list_has(self) -> None:
        if hasattr(self, "window"):
            recent = [time for time in self.times if time >= self.now - self.window.period]
            assert self.window.count(self.now) == len(recent)
            assert self.attempts.failures == self.in_a_row


TestRestartMachine = RestartMachine.TestCase


@given(backoffs(), st.integers(1, 10_000), fractions)
def test_a_wait_stays_within_its_jitter_and_the_maximum(backoff: Backoff, attempt: int, fraction: float) -> None:
    base = backoff.base(attempt)
    delay = backoff.delay(attempt, lambda: fraction)
    assert 0 <= base <= backoff.maximum
    assert delay <= backoff.maximum
    assert delay <= base * (1 + backoff.jitter) * (1 + 1e-9)
    assert delay >= base * (1 - backoff.jitter) * (1 - 1e-9) - 1e-9


@given(backoffs(), st.integers(1, 10_000))
def test_waits_grow_by_the_factor_until_the_maximum(backoff: Backoff, attempt: int) -> None:
    first, second = backoff.base(attempt), backoff.base(attempt + 1)
    assert second >= first
    if attempt <= backoff.at_once:
        assert first == 0
    else:
        assert second == pytest.approx(min(backoff.maximum, first * backoff.factor))


@given(backoffs(), st.integers(0, 300))
def test_the_longest_sum_is_the_sum_of_the_longest(backoff: Backoff, attempts: int) -> None:
    total = sum(backoff.delay(attempt, lambda: 1.0) for attempt in range(1, attempts + 1))
    assert backoff.longest(attempts) == pytest.approx(total)


@given(backoffs(), st.integers(0, 50), positive, st.lists(fractions, min_size=1))
def test_limits_that_are_accepted_end_a_child_that_always_fails(
    backoff: Backoff, intensity: int, period: float, jitters: list[float]
) -> None:
    window = RestartWindow(intensity, period)
    try:
        check_reachable(window, backoff)
    except ValueError:
        reject()
    attempts = Attempts(backoff, lambda: jitters[attempts.failures % len(jitters)])
    now = 0.0
    restarts = 0
    while window.record(now):
        restarts += 1
        now += attempts.next_delay(0.0) * (1 - 1e-9)  # the sum may round up to a hair beyond the period
        assert restarts <= intensity
    assert restarts == intensity


def test_the_defaults_escalate_within_seconds() -> None:
    check_reachable(RestartWindow(5, 30.0), Backoff())
    assert Backoff().longest(5) == pytest.approx(3.72)


def test_limits_that_never_escalate_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"100 waits .* up to 477\.56 s, longer than the period of 30 s"):
        check_reachable(RestartWindow(100, 30.0), Backoff())


@pytest.mark.parametrize("initial", [0.0, 1e-300, 1.0])
def test_attempts_without_end_overflow_nothing(initial: float) -> None:
    assert Backoff(initial=initial, factor=100.0).base(10**6) == (5.0 if initial else 0.0)


@pytest.mark.parametrize(
    "options",
    [
        {"initial": -1},
        {"initial": 2, "maximum": 1},
        {"maximum": math.inf},
        {"factor": 0.5},
        {"factor": math.nan},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"quiet": -1},
        {"at_once": -1},
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"backoff|quiet|at_once"):
        Backoff(**options)


@pytest.mark.parametrize(("intensity", "period"), [(-1, 1.0), (1, 0.0), (1, -1.0), (1, math.inf), (1, math.nan)])
def test_a_window_that_makes_no_sense_is_refused(intensity: int, period: float) -> None:
    with pytest.raises(ValueError, match=r"intensity|period"):
        RestartWindow(intensity, period)
