"""Actors that hang: found, given up, replaced; and what a thread that was given up can still do, which is nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from actors.supervision import (
    AbandonedError,
    ActorGoneError,
    EventKind,
    Outcome,
    Restart,
    StartError,
    Strategy,
    WedgedError,
)
from actors.supervision._health import HealthWatch
from actors.supervision._incarnation import Incarnation, Phase
from tests.supervision.support import Do, FakeClock, Probe, Script, Tell, Which, crash, eventually, generations, serves

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision import Supervisor
    from tests.supervision.conftest import MakeTree

SHORT = 0.3  # a deadline that is meant to pass, and that no healthy life on a busy machine comes near


def handling(tree: Supervisor, script: Script) -> None:
    tree.directory.send("victim", Do(script.hang))


def restarting_into(phase: str) -> Callable[[Supervisor, Script], None]:
    def act(tree: Supervisor, script: Script) -> None:
        script.acts["victim", phase, 2] = script.hang
        crash(tree, "victim")

    return act


def stopping(tree: Supervisor, script: Script) -> None:
    script.acts["victim", "stopped", 1] = script.hang
    tree.directory.send("victim", Do(lambda probe: probe.stop()))


def crashing(tree: Supervisor, script: Script) -> None:
    script.acts["victim", "stopped", 1] = script.hang
    crash(tree, "victim")


def reading(tree: Supervisor, script: Script) -> None:
    def spawn_and_stop(probe: Probe) -> None:
        probe.spawn_reader(script.hang)
        probe.stop()

    tree.directory.send("victim", Do(spawn_and_stop))


# Each with the deadline that finds it; the others stay long.
HANGS = {
    "message": ("health", handling),
    "constructor": ("startup", restarting_into("constructor")),
    "started": ("startup", restarting_into("started")),
    "stopped": ("shutdown", stopping),
    "stopped after a crash": ("shutdown", crashing),
    "reader": ("shutdown", reading),
}


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("hang", HANGS)
def test_the_tree_serves_again_after_a_hang(hang: str, strategy: Strategy, make_tree: MakeTree, script: Script) -> None:
    deadline, act = HANGS[hang]
    victim = script.spec("victim", Restart.PERMANENT, **{deadline: SHORT})
    tree = make_tree("before", victim, "after", strategy=strategy)
    act(tree, script)
    serves(tree, "victim", 3 if hang in {"constructor", "started"} else 2)
    for sibling in ("before", "after"):
        serves(tree, sibling)
    eventually(lambda: script.count(EventKind.ABANDONED) == 1)
    (event,) = [event for event in script.events if event.kind is EventKind.ABANDONED]
    assert event.error.startswith("WedgedError")
    assert ("in hang" in event.trace) == (hang != "reader")  # says where it hangs; the reader's actor waits for it
    assert tree.escalation is None
    assert tree.stop() == ("victim",)
    script.release.set()
    eventually(lambda: tree.stop() == ())  # it counts until it is gone


def test_a_wedged_actor_is_found_by_its_limit_and_not_before(
    make_tree: MakeTree, script: Script, clock: FakeClock
) -> None:
    tree = make_tree(script.spec("victim", health=10.0), "other", clock=clock)
    tree.directory.send("victim", Do(script.hang))
    eventually(lambda: tree._shared.health.next_look == clock.monotonic() + 10)
    clock.advance(9.9)
    serves(tree, "other")
    assert script.count(EventKind.ABANDONED) == 0
    clock.advance(0.2)
    eventually(lambda: tree._shared.health.next_look == clock.monotonic() + 1)  # looks a second time
    assert script.count(EventKind.ABANDONED) == 0
    clock.advance(1.0)
    eventually(lambda: script.count(EventKind.ABANDONED) == 1)
    assert script.events[-1].error.startswith("WedgedError: in Do for 11.1 s")


def test_a_process_that_was_stopped_as_a_whole_loses_no_actor(
    make_tree: MakeTree, script: Script, clock: FakeClock
) -> None:
    tree = make_tree(script.spec("victim", health=10.0), clock=clock)
    tree.directory.send("victim", Do(script.hang))
    eventually(lambda: tree._shared.health.next_look < 1e9)
    clock.advance(3600.0)  # SIGSTOP, SIGCONT: the supervisor is the first to run again
    eventually(lambda: tree._shared.health.next_look == clock.monotonic() + 1)
    script.release.set()
    assert tree.directory.ask("victim", Which(), 30) == 1
    clock.advance(3600.0)
    serves(tree, "victim")
    assert script.count(EventKind.ABANDONED) == 0


def test_an_actor_may_be_busy_as_long_as_it_declares(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    declared = threading.Event()

    def work(probe: Probe) -> None:
        probe.busy(60.0)
        declared.set()
        script.hang()

    tree = make_tree(script.spec("victim", health=10.0), clock=clock)
    tree.directory.send("victim", Do(work))
    assert declared.wait(30)
    for _ in range(5):
        clock.advance(11.9)
        eventually(lambda: tree._shared.health.next_look > clock.monotonic())
    assert script.count(EventKind.ABANDONED) == 0
    clock.advance(1.0)
    eventually(lambda: tree._shared.health.next_look == clock.monotonic() + 1)
    clock.advance(1.0)
    eventually(lambda: script.count(EventKind.ABANDONED) == 1)


def test_waiting_for_an_answer_counts_as_declared(make_tree: MakeTree, script: Script) -> None:
    asked = threading.Event()

    def answer(_probe: Probe) -> str:
        asked.wait(30)
        return "late"

    tree = make_tree(script.spec("slow", health=None), script.spec("victim", health=SHORT), script.spec("probe"))
    answers: list[str] = []
    tree.directory.send("victim", Do(lambda probe: answers.append(probe.ask("slow", Do(answer), 20.0))))
    eventually(lambda: tree._shared.health.next_look < 1e9)
    # A second actor wedges meanwhile, with the limit that the first one has, and is found: the watch has looked.
    crash(tree, "probe")
    serves(tree, "probe", 2)
    deadline = time.monotonic() + 3 * SHORT
    eventually(lambda: time.monotonic() > deadline)
    asked.set()
    eventually(lambda: answers == ["late"])
    assert generations(tree)["victim"] == 1


def test_nobody_looks_at_an_actor_without_a_limit(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    tree = make_tree(script.spec("victim", health=None), clock=clock)
    tree.directory.send("victim", Do(script.hang))
    for _ in range(5):
        clock.advance(1e6)
    script.release.set()
    serves(tree, "victim")
    assert generations(tree) == {"victim": 1}


def test_a_long_queue_is_no_wedge(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    tree = make_tree(script.spec("victim", health=10.0), clock=clock)
    for _ in range(50):
        tree.directory.send("victim", Do(lambda _probe: clock.advance(1.0)))  # 50 s of work, 1 s each
    serves(tree, "victim")
    assert generations(tree) == {"victim": 1}


def test_a_ghost_can_neither_send_nor_report_nor_answer(make_tree: MakeTree, script: Script) -> None:
    woken: list[str] = []

    def hang_then_act(probe: Probe) -> str:
        script.hang()
        woken.append("awake")
        assert not probe.post(Tell("from the ghost to itself"))
        try:
            probe.send("peer", Tell("from the ghost"))
        except AbandonedError:
            woken.append("refused")
            raise
        return "late answer"

    tree = make_tree("peer", script.spec("victim", health=SHORT))
    with pytest.raises(ActorGoneError, match="abandoned while"):
        tree.directory.ask("victim", Do(hang_then_act), 30)
    serves(tree, "victim", 2)
    script.await_count(EventKind.STARTED, 3)
    before = list(script.events)
    script.release.set()
    eventually(lambda: not any(thread.name == "victim#1" for thread in threading.enumerate()), "the ghost's end")
    assert woken == ["awake", "refused"]
    serves(tree, "peer")
    serves(tree, "victim", 2)
    assert script.told["peer"] == []
    assert script.told["victim"] == []
    assert generations(tree) == {"peer": 1, "victim": 2}
    assert list(script.events) == before  # its late crash is nobody's
    assert "stopped victim#1" in script.lines  # but it releases what it held


@pytest.mark.parametrize("phase", ["constructor", "started"])
def test_a_ghost_that_finishes_its_start_late_does_not_come_up(phase: str, make_tree: MakeTree, script: Script) -> None:
    script.acts["victim", phase, 2] = script.hang
    tree = make_tree(script.spec("victim", startup=SHORT))
    crash(tree, "victim")
    serves(tree, "victim", 3)
    script.release.set()
    eventually(lambda: not any(thread.name == "victim#2" for thread in threading.enumerate()), "the ghost's end")
    assert tree.directory.ask("victim", Which(), 30) == 3
    assert generations(tree) == {"victim": 3}
    assert ("started victim#2" in script.lines) == (phase == "started")  # it does not even begin to acquire anything


def test_what_a_ghost_had_in_its_mailbox_goes_to_its_successor(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree(script.spec("victim", health=SHORT))
    tree.directory.send("victim", Do(script.hang))
    for text in "abc":
        tree.directory.send("victim", Tell(text))
    assert tree.directory.ask("victim", Which(), 30) == 2
    assert script.told["victim"] == ["a", "b", "c"]


def test_timers_of_a_ghost_are_void(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    def arm_and_hang(probe: Probe) -> None:
        probe.after(60.0, Tell("from the first life"))
        probe.watch(30.0, lambda: Tell("watched from the first life"))
        script.hang()

    tree = make_tree(script.spec("victim", health=10.0), clock=clock)
    tree.directory.send("victim", Do(arm_and_hang))
    eventually(lambda: tree._shared.health.next_look < 1e9)
    clock.advance(10.0)
    eventually(lambda: tree._shared.health.next_look == clock.monotonic() + 1)
    clock.advance(1.0)
    eventually(lambda: script.count(EventKind.RESTARTING) == 1)
    clock.advance(1.0)
    serves(tree, "victim", 2)
    tree.directory.send("victim", Do(lambda probe: probe.after(60.0, Tell("from the second"))))
    serves(tree, "victim", 2)
    clock.advance(60.0)
    eventually(lambda: script.told["victim"] != [])
    assert script.told["victim"] == ["from the second"]


def test_abandonment_that_recurs_escalates(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("other", script.spec("victim", health=SHORT, shutdown=SHORT))
    for generation in (1, 2):
        serves(tree, "victim", generation)
        tree.directory.send("victim", Do(script.hang))
    assert tree.wait(30) is Outcome.ESCALATED
    assert tree.escalation is not None
    assert tree.escalation.startswith("2 actors had to be abandoned (victim#1, victim#2)")
    assert script.count(EventKind.RESTARTING) == 1  # no more once it gives up
    assert tree.stop() == ("victim", "victim")
    assert "stopped other#1" in script.lines


def test_abandonment_once_in_a_while_does_not(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    tree = make_tree(script.spec("victim", health=10.0), clock=clock, abandonment_period=600.0)
    entered = threading.Event()

    def enter_and_hang(_probe: Probe) -> None:
        entered.set()
        script.hang()

    for generation in (1, 2, 3):
        serves(tree, "victim", generation)
        entered.clear()
        tree.directory.send("victim", Do(enter_and_hang))
        assert entered.wait(30)
        clock.advance(10.0)
        eventually(lambda: tree._shared.health.next_look == clock.monotonic() + 1)
        clock.advance(1.0)
        script.await_count(EventKind.RESTARTING, generation)
        script.release.set()  # the thread ends,
        eventually(lambda: tree._ghosts.existing() == ())
        script.release.clear()
        clock.advance(601.0)  # and is forgotten
    serves(tree, "victim", 4)
    assert tree.escalation is None


def test_a_ghost_counts_for_its_period_even_if_it_is_gone(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree(script.spec("victim", health=SHORT))
    for generation in (1, 2):
        serves(tree, "victim", generation)
        tree.directory.send("victim", Do(script.hang))
        script.await_count(EventKind.ABANDONED, generation)
        script.release.set()
        eventually(lambda: tree._ghosts.existing() == ())
        script.release.clear()
    assert tree.wait(30) is Outcome.ESCALATED


def test_what_a_ghost_reports_late_does_not_bring_it_back(clock: FakeClock) -> None:
    ghost = Incarnation(
        "a", 1, health=None, changed=threading.Condition(), clock=clock, watch=HealthWatch(lambda: None)
    )
    ghost.leave(WedgedError())
    ghost.up()
    assert ghost.phase is Phase.LEAVING


def test_a_ghost_that_exists_counts_however_old_it_is(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree(script.spec("victim", health=SHORT), abandonment_period=0.0)
    for generation in (1, 2):
        serves(tree, "victim", generation)
        tree.directory.send("victim", Do(script.hang))
    assert tree.wait(30) is Outcome.ESCALATED


@pytest.mark.parametrize("how", ["message", "stopped"])
def test_a_tree_with_hung_children_stops_within_their_deadlines_and_names_them(
    how: str, make_tree: MakeTree, script: Script
) -> None:
    hung = [script.spec(child, shutdown=SHORT) for child in ("x", "y")]
    tree = make_tree("a", *hung, "b")
    entered = threading.Barrier(3)

    def enter_and_hang(_probe: Probe) -> None:
        entered.wait(30)
        script.hang()

    for child in ("x", "y"):
        if how == "message":
            tree.directory.send(child, Do(enter_and_hang))
        else:
            script.acts[child, "stopped", 1] = script.hang
    if how == "message":
        entered.wait(30)
    assert sorted(tree.stop()) == ["x", "y"]
    assert tree.wait(0) is Outcome.STOPPED
    assert {"stopped a#1", "stopped b#1"} <= set(script.lines)
    assert script.events[-1].kind is EventKind.STOPPED
    assert sorted(script.events[-1].error.split()) == ["x", "y"]


def test_a_shared_deadline_leaves_time_for_every_child(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    tree = make_tree("a", script.spec("x", shutdown=60.0), "b", clock=clock)
    script.acts["x", "stopped", 1] = script.hang
    stopper = threading.Thread(target=tree.stop, args=(4.0,))
    begin = clock.monotonic()
    stopper.start()
    eventually(lambda: "stopped x#1" in script.lines)
    while stopper.is_alive():
        clock.advance(0.25)
        stopper.join(0.01)
    assert clock.monotonic() - begin < 4.0
    assert "stopped a#1" in script.lines
    assert script.events[-1].error == "x"


def test_an_actor_with_too_many_messages_left_stops_after_the_one_in_hand(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree(script.spec("victim", shutdown=2 * SHORT))
    step = threading.Semaphore(0)

    def take(probe: Probe) -> None:
        probe.script.told["victim"].append("one")
        step.acquire(timeout=SHORT / 4)

    for _ in range(200):
        tree.directory.send("victim", Do(take))
    assert tree.stop() == ()  # 15 s of work, 0.6 s to stop: it stopped in order, and said what it had to drop
    assert 0 < len(script.told["victim"]) < 200
    assert script.count(EventKind.DROPPED, "victim") == 200 - len(script.told["victim"])


def test_a_hang_in_the_first_start_fails_the_start(make_tree: MakeTree, script: Script) -> None:
    script.acts["victim", "started", 1] = script.hang
    with pytest.raises(StartError, match=r"victim did not start: WedgedError: not up after 0\.3 s"):
        make_tree("a", script.spec("victim", startup=SHORT))
    assert "stopped a#1" in script.lines
