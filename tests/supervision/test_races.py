"""Two things at once: an end during a start, a stop, a restart, an ask, an abandonment."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from actors.supervision import ActorGoneError, Backoff, EventKind, Outcome, Restart, Strategy
from actors.supervision._mail import Reply
from tests.supervision.support import Do, FakeClock, Probe, Script, crash, eventually, generations, serves

if TYPE_CHECKING:
    from tests.supervision.conftest import MakeTree


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("phase", ["message", "stopped"])
def test_a_crash_during_the_stop_is_told_and_changes_nothing(
    phase: str, strategy: Strategy, make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree("a", "b", "c", strategy=strategy, intensity=0)
    entered, go = threading.Event(), threading.Event()

    def fail(_probe: Probe) -> None:
        entered.set()
        go.wait(30)
        raise RuntimeError("during the stop")

    if phase == "message":
        tree.directory.send("b", Do(fail))
        assert entered.wait(30)
    else:
        script.acts["b", "stopped", 1] = fail
    tree.request_stop()
    eventually(lambda: "stopped c#1" in script.lines)
    go.set()
    assert tree.wait(30) is Outcome.STOPPED
    assert tree.escalation is None
    assert list(script.phases("stopped")) == ["stopped c#1", "stopped b#1", "stopped a#1"]
    assert script.kinds("b") == [EventKind.STARTED, EventKind.CRASHED]
    assert generations(tree) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("strategy", "sequence"),
    [
        (Strategy.ONE_FOR_ONE, "started b#2, stopped a#1, started a#2"),
        (Strategy.REST_FOR_ONE, "started b#2, stopped a#1, stopped b#2, started a#2, started b#3, started c#2"),
    ],
)
def test_a_child_that_crashes_while_a_later_one_is_being_restarted(
    strategy: Strategy, sequence: str, make_tree: MakeTree, script: Script
) -> None:
    entered = threading.Event()

    def enter_and_hang(_probe: Probe) -> None:
        entered.set()
        script.hang()

    script.acts["b", "started", 2] = enter_and_hang
    tree = make_tree("a", "b", "c", strategy=strategy, backoff=Backoff(initial=0.0))
    crash(tree, "b")
    assert entered.wait(30)
    life = tree._children["a"].incarnation
    assert life is not None
    before = len(script.lines)
    crash(tree, "a")
    eventually(lambda: life.over)
    script.release.set()
    expected = sequence.split(", ")
    serves(tree, "c", 2 if strategy is Strategy.REST_FOR_ONE else 1)
    serves(tree, "a", 2)
    told = [line for line in script.lines[before - 1 :] if line.split()[0] != "constructor"]
    assert told == expected
    assert tree.escalation is None


def test_a_sibling_that_crashes_while_it_is_being_stopped_counts_once(make_tree: MakeTree, script: Script) -> None:
    script.fail("b", "stopped", 1)
    tree = make_tree("a", "b", "c", strategy=Strategy.ONE_FOR_ALL, intensity=1)
    crash(tree, "c")
    serves(tree, "c", 2)
    assert generations(tree) == {"a": 2, "b": 2, "c": 2}
    assert script.count(EventKind.CRASHED) == 2
    assert script.count(EventKind.RESTARTING) == 1


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TEMPORARY])
def test_whoever_asks_a_dying_actor_hears_something(restart: Restart, make_tree: MakeTree, script: Script) -> None:
    """And each question is taken up once at the most, by one life; who got an answer was the one that was heard."""
    tree = make_tree("before", script.spec("victim", restart), intensity=1000, period=1e6, backoff=Backoff(initial=0.0))
    taken: Counter[str] = Counter()
    heard: list[tuple[str, str]] = []
    askers, questions, deaths = 6, 40, [SystemExit(), RuntimeError("crash")]

    def ask(asker: int) -> None:
        for number in range(questions):
            name = f"{asker}:{number}"

            def answer(_probe: Probe, name: str = name, number: int = number) -> str:
                taken[name] += 1
                if number % 10 == 9:
                    raise deaths[number // 10 % 2]
                return name

            try:
                heard.append((name, tree.directory.ask("victim", Do(answer), 30)))
            except (ActorGoneError, RuntimeError) as error:
                heard.append((name, type(error).__name__))

    threads = [threading.Thread(target=ask, args=(asker,)) for asker in range(askers)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(heard) > askers * questions // 2)
    tree.stop()  # some are still at it
    for thread in threads:
        thread.join(30)
    assert len(heard) == askers * questions
    assert set(taken.values()) <= {1}
    for name, answer in heard:
        assert answer in {name, "ActorGoneError", "RuntimeError"}
        assert answer == "ActorGoneError" or taken[name] == 1


def test_the_first_answer_counts() -> None:
    reply = Reply()
    reply.settle(error=ActorGoneError("abandoned"))
    reply.settle("a ghost's")
    with pytest.raises(ActorGoneError):
        reply.get(timeout=0)


def test_a_defect_of_the_supervisor_ends_the_tree_in_order(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", "b")

    def fail() -> None:
        raise ZeroDivisionError

    tree._start_due = fail  # type: ignore[method-assign]
    crash(tree, "b")
    assert tree.wait(30) is Outcome.ESCALATED
    assert tree.escalation == "the supervisor failed: ZeroDivisionError"
    assert list(script.phases("stopped")) == ["stopped b#1", "stopped a#1"]


def test_who_has_gone_on_by_the_time_it_is_to_be_abandoned_is_left_alone(
    make_tree: MakeTree, script: Script, clock: FakeClock
) -> None:
    tree = make_tree(script.spec("victim", health=10.0), clock=clock)
    tree.directory.send("victim", Do(script.hang))
    life = tree._children["victim"].incarnation
    eventually(lambda: life is not None and life.work is not None)
    tree._shared.health.look = lambda running, _now: list(running)  # type: ignore[method-assign,assignment]
    tree._replace_the_stuck()
    assert script.count(EventKind.ABANDONED) == 0


def test_two_that_are_found_stuck_at_once_are_one_failure_where_all_are_restarted(
    make_tree: MakeTree, script: Script, clock: FakeClock
) -> None:
    stuck = [script.spec(child, health=10.0, shutdown=2.0) for child in ("x", "y")]
    tree = make_tree(*stuck, strategy=Strategy.ONE_FOR_ALL, abandonments=2, clock=clock)
    entered = threading.Barrier(3)

    def enter_and_hang(_probe: Probe) -> None:
        entered.wait(30)
        script.hang()

    for child in ("x", "y"):
        tree.directory.send(child, Do(enter_and_hang))
    entered.wait(30)
    eventually(lambda: tree._shared.health.next_look < 1e9)
    clock.advance(10.0)
    eventually(lambda: tree._shared.health.next_look == clock.monotonic() + 1)
    clock.advance(1.0)

    def both_given_up() -> bool:
        if script.count(EventKind.ABANDONED) == 1:
            clock.advance(1.0)  # the second one is when it does not stop
        return script.count(EventKind.ABANDONED) == 2

    eventually(both_given_up)
    script.await_count(EventKind.RESTARTING, 1)
    clock.advance(1.0)
    for child in ("x", "y"):
        serves(tree, child, 2)
    assert script.count(EventKind.RESTARTING) == 1
    assert generations(tree) == {"x": 2, "y": 2}


def test_what_is_taken_up_at_the_moment_of_the_abandonment_goes_to_the_successor(
    make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree("victim")
    life = tree._children["victim"].incarnation
    assert life is not None
    begin = life.begin

    def abandoned_before_it_begins(message: Any, reply: Any = None) -> None:
        tree.directory.abandon(life)
        begin(message, reply)

    life.begin = abandoned_before_it_begins  # type: ignore[method-assign]
    tree.directory.send("victim", Do(lambda probe: script.told["victim"].append(f"in {probe.context.generation}")))
    serves(tree, "victim", 2)
    assert script.told["victim"] == ["in 2"]
