"""Which children are restarted with the one that ended, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.supervision import Backoff, Event, EventKind, Outcome, Restart, Strategy, Supervisor
from tests.supervision.support import Do, FakeClock, Script, Tell, crash, eventually, generations, serves, snapshot

if TYPE_CHECKING:
    from tests.supervision.conftest import MakeTree


def end(tree: Supervisor, child: str) -> None:
    """A normal end."""
    tree.directory.send(child, Do(lambda probe: probe.stop()))


@pytest.mark.parametrize("strategy", Strategy)
def test_children_start_in_order_and_stop_in_reverse(strategy: Strategy, make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", "b", "c", strategy=strategy)
    assert script.lines == [
        "constructor a#1", "started a#1", "constructor b#1", "started b#1", "constructor c#1", "started c#1",
    ]  # fmt: skip
    assert tree.stop() == ()
    assert script.lines[6:] == ["stopped c#1", "stopped b#1", "stopped a#1"]
    assert tree.wait() is Outcome.STOPPED


@pytest.mark.parametrize(
    ("strategy", "sequence"),
    [
        (Strategy.ONE_FOR_ONE, "stopped b#1, started b#2"),
        (Strategy.REST_FOR_ONE, "stopped b#1, stopped d#1, stopped c#1, started b#2, started c#2, started d#2"),
        (
            Strategy.ONE_FOR_ALL,
            "stopped b#1, stopped d#1, stopped c#1, stopped a#1, started a#2, started b#2, started c#2, started d#2",
        ),
    ],
)
def test_a_crash_restarts_those_the_strategy_names_in_their_order(
    strategy: Strategy, sequence: str, make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree("a", "b", "c", "d", strategy=strategy)
    del script.lines[:]
    crash(tree, "b")
    expected = sequence.split(", ")
    eventually(lambda: len(list(script.phases("started", "stopped"))) >= len(expected))
    assert list(script.phases("started", "stopped")) == expected


@pytest.mark.parametrize(
    ("restart", "how", "then"),
    [
        (Restart.PERMANENT, "crash", "restarted"),
        (Restart.PERMANENT, "end", "restarted"),
        (Restart.TRANSIENT, "crash", "restarted"),
        (Restart.TRANSIENT, "end", "finished"),
        (Restart.TEMPORARY, "crash", "finished"),
        (Restart.TEMPORARY, "end", "finished"),
    ],
)
@pytest.mark.parametrize("strategy", Strategy)
def test_the_restart_type_decides_after_which_end(  # noqa: PLR0917 - parameters of the test
    strategy: Strategy, restart: Restart, how: str, then: str, make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree("a", script.spec("b", restart), "c", strategy=strategy)
    (crash if how == "crash" else end)(tree, "b")
    if then == "restarted":
        serves(tree, "b", 2)
    else:
        eventually(lambda: snapshot(tree)[1].state == "finished")
        assert generations(tree) == {"a": 1, "b": 1, "c": 1}
        assert not tree.directory.send("b", "too late")
        assert script.count(EventKind.DROPPED, "b") == 1
    assert script.count(EventKind.CRASHED, "b") == (how == "crash")
    for sibling in ("a", "c"):
        serves(tree, sibling)


def test_a_temporary_sibling_is_stopped_with_the_others_and_stays_down(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", script.spec("b", Restart.TEMPORARY), "c", strategy=Strategy.ONE_FOR_ALL)
    crash(tree, "a")
    serves(tree, "c", 2)
    assert generations(tree) == {"a": 2, "b": 1, "c": 2}
    assert snapshot(tree)[1].state == "finished"


def test_a_transient_sibling_that_had_ended_well_starts_with_the_others(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", script.spec("b", Restart.TRANSIENT), strategy=Strategy.ONE_FOR_ALL)
    end(tree, "b")
    eventually(lambda: snapshot(tree)[1].state == "finished")
    crash(tree, "a")
    serves(tree, "b", 2)  # as OTP has it: its specification is still there


def test_messages_for_a_finished_sibling_are_kept_from_the_moment_it_is_to_start_again(
    make_tree: MakeTree, script: Script, clock: FakeClock
) -> None:
    tree = make_tree("a", script.spec("b", Restart.TRANSIENT), strategy=Strategy.ONE_FOR_ALL, clock=clock)
    end(tree, "b")
    eventually(lambda: snapshot(tree)[1].state == "finished")
    assert not tree.directory.send("b", Tell("to nobody"))
    crash(tree, "a")
    script.await_count(EventKind.RESTARTING, 1)
    assert snapshot(tree)[1].state == "waiting"
    assert tree.directory.send("b", Tell("to the next"))
    clock.advance(1.0)
    serves(tree, "b", 2)
    assert script.told["b"] == ["to the next"]


def test_those_after_a_child_that_does_not_come_back_wait_for_it(make_tree: MakeTree, script: Script) -> None:
    script.fail("b", "started", 2, 3)
    tree = make_tree("a", "b", "c", strategy=Strategy.REST_FOR_ONE)
    crash(tree, "b")
    serves(tree, "c", 2)
    assert generations(tree) == {"a": 1, "b": 4, "c": 2}
    assert [line for line in script.phases("started") if line[-1] != "1"] == [
        "started b#2", "started b#3", "started b#4", "started c#2",
    ]  # fmt: skip


def test_one_for_one_nobody_waits_for_who_started_earlier(
    make_tree: MakeTree, script: Script, clock: FakeClock
) -> None:
    backoff = Backoff(initial=1.0, factor=100.0, maximum=100.0, jitter=0.0)
    tree = make_tree("a", "b", backoff=backoff, clock=clock, intensity=3, period=1000.0)
    crash(tree, "a")
    script.await_count(EventKind.RESTARTING, 1)
    clock.advance(1.0)
    serves(tree, "a", 2)
    for count, child in enumerate("ab", start=2):
        crash(tree, child)
        script.await_count(EventKind.RESTARTING, count)
    clock.advance(1.0)
    serves(tree, "b", 2)
    assert snapshot(tree)[0].state == "waiting"


def test_two_crashes_at_once_restart_both(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", "b", "c")
    for child in ("a", "b"):
        crash(tree, child)
    for child in ("a", "b"):
        serves(tree, child, 2)
    assert generations(tree) == {"a": 2, "b": 2, "c": 1}
    assert tree.restarts == 2


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
def test_a_sibling_that_crashed_at_once_with_another_is_restarted_once(
    strategy: Strategy, make_tree: MakeTree, script: Script
) -> None:
    trees: list[Supervisor] = []

    def crash_both(event: Event) -> None:
        script.events.append(event)
        if event.kind is EventKind.CRASHED and event.id == "gate":
            # The supervisor is here, and finds both down when it goes on.
            lives = [trees[0]._children[child].incarnation for child in "ab"]
            for child in "ab":
                crash(trees[0], child)
            eventually(lambda: all(life is not None and life.over for life in lives))

    gate = script.spec("gate", Restart.TEMPORARY)
    tree = make_tree("a", "b", gate, strategy=strategy, intensity=1, on_event=crash_both)
    trees.append(tree)
    crash(tree, "gate")
    serves(tree, "a", 2)
    serves(tree, "b", 2)
    assert generations(tree) == {"a": 2, "b": 2, "gate": 1}
    assert script.count(EventKind.CRASHED) == 3
    assert script.count(EventKind.RESTARTING) == 1  # the second counts as ended by the first


IDS = "abcd"
steps = st.lists(st.one_of(st.sampled_from(IDS), st.floats(min_value=0.0, max_value=20.0)), min_size=1, max_size=12)


class Model:
    """What the tree has to do, without threads: generations, restarts in the window, and the end."""

    def __init__(self, strategy: Strategy, intensity: int, period: float) -> None:
        self.strategy, self.intensity, self.period = strategy, intensity, period
        self.times: list[float] = []
        self.generations = dict.fromkeys(IDS, 1)

    def crash(self, child: str, now: float) -> bool:
        self.times.append(now)
        if len([time for time in self.times if time >= now - self.period]) > self.intensity:
            return False
        at = IDS.index(child)
        for sibling in {
            Strategy.ONE_FOR_ONE: IDS[at],
            Strategy.REST_FOR_ONE: IDS[at:],
            Strategy.ONE_FOR_ALL: IDS,
        }[self.strategy]:
            self.generations[sibling] += 1
        return True


@given(strategy=st.sampled_from(Strategy), intensity=st.integers(0, 4), steps=steps)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_history_of_crashes_ends_as_the_model_says(strategy: Strategy, intensity: int, steps: list[Any]) -> None:
    clock = FakeClock()
    script = Script()
    model = Model(strategy, intensity, period=10.0)
    backoff = Backoff(initial=0.5, maximum=2.0)
    tree = Supervisor(
        [script.spec(child) for child in IDS],
        strategy=strategy, intensity=intensity, period=10.0, backoff=backoff,
        clock=clock, random=lambda: 0.5, on_event=script.events.append,
    )  # fmt: skip
    tree.start()
    try:
        for step in steps:
            if isinstance(step, float):
                clock.advance(step)
                continue
            alive = model.crash(step, clock.monotonic())
            scheduled = script.count(EventKind.RESTARTING)
            crash(tree, step)
            if not alive:
                assert tree.wait(30) is Outcome.ESCALATED
                assert tree.escalation is not None
                assert step in tree.escalation
                return
            script.await_count(EventKind.RESTARTING, scheduled + 1)
            before = generations(tree)
            assert before != model.generations  # nobody is back before the backoff is over
            clock.advance(2.0)
            eventually(lambda: generations(tree) == model.generations)
            for child in IDS:
                serves(tree, child, model.generations[child])
        assert tree.escalation is None
    finally:
        tree.stop()
