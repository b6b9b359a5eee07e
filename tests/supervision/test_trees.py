"""Trees that change while they run: children that come and go, trees in trees, and ends that are significant."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from actors.supervision import (
    AskTimeoutError,
    AutoShutdown,
    Backoff,
    ChildSpec,
    EventKind,
    Outcome,
    Program,
    Restart,
    StartError,
    Strategy,
    Supervisor,
    UnknownActorError,
)
from tests.supervision.support import Do, Probe, Script, Tell, Which, crash, eventually, generations, serves

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.supervision.conftest import MakeTree


# --- Children that come and go ----------------------------------------------------------------------------------------


def test_a_child_is_added_while_the_tree_runs_and_kept_as_the_others(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    ref = tree.start_child(script.spec("b"))
    assert ref.ask(Which(), timeout=30) == 1
    crash(tree, "b")
    serves(tree, "b", 2)
    assert generations(tree) == {"a": 1, "b": 2}
    tree.stop()
    assert list(script.phases("stopped"))[-2:] == ["stopped b#2", "stopped a#1"]


def test_an_actor_may_add_its_siblings(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    tree.directory.ask("a", Do(lambda _probe: tree.start_child(script.spec("b")).id), 30)
    serves(tree, "b")


def test_a_child_that_does_not_start_is_none(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    script.fail("b", "started", 1)
    with pytest.raises(StartError, match="b did not start: RuntimeError: started of b"):
        tree.start_child(script.spec("b"))
    with pytest.raises(UnknownActorError):
        tree.directory.send("b", Tell("x"))
    script.acts.clear()
    assert tree.start_child(script.spec("b"), 30).id == "b"  # its id is free
    assert tree.restarts == 0


def test_an_id_is_given_once(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    with pytest.raises(ValueError, match="two children have the id a"):
        tree.start_child(script.spec("a"))
    serves(tree, "a")


def test_a_child_that_was_terminated_stays_down_until_it_is_wanted(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", "b", strategy=Strategy.ONE_FOR_ALL)
    tree.terminate_child("b")
    assert script.kinds("b")[-1] is EventKind.ENDED
    assert tree.directory.send("b", Tell("refused")) is False
    crash(tree, "a")
    serves(tree, "a", 2)
    assert generations(tree) == {"a": 2, "b": 1}, "not with its siblings either"
    tree.restart_child("b")
    serves(tree, "b", 2)
    crash(tree, "a")
    serves(tree, "b", 3)
    assert script.told["b"] == []


def test_one_that_waits_for_its_restart_may_be_terminated(make_tree: MakeTree, script: Script, clock: Any) -> None:
    tree = make_tree("a", clock=clock, backoff=Backoff(initial=20.0, maximum=20.0), intensity=1)
    crash(tree, "a")
    script.await_count(EventKind.RESTARTING, 1)
    tree.directory.send("a", Tell("lost"))
    tree.terminate_child("a")
    clock.advance(25.0)
    tree.restart_child("a")
    assert tree.directory.ask("a", Which(), 30) == 2
    assert script.told["a"] == []
    assert script.count(EventKind.DROPPED, "a") == 1


def test_only_what_is_down_is_restarted_or_deleted(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    for act in (tree.restart_child, tree.delete_child):
        with pytest.raises(ValueError, match="a is not down for good"):
            act("a")
    tree.terminate_child("a")
    tree.terminate_child("a")
    tree.delete_child("a")
    for act in (tree.terminate_child, tree.restart_child, tree.delete_child):
        with pytest.raises(UnknownActorError, match="no child has the id a"):
            act("a")
    tree.start_child(script.spec("a"))
    serves(tree, "a")


def test_a_restart_by_hand_that_fails_leaves_it_down(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    tree.terminate_child("a")
    script.fail("a", "started", 2)
    with pytest.raises(StartError):
        tree.restart_child("a")
    tree.restart_child("a")
    serves(tree, "a", 3)


def test_a_temporary_child_that_was_added_is_forgotten_at_its_end(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", script.spec("t", Restart.TEMPORARY), strategy=Strategy.ONE_FOR_ALL)
    ref = tree.start_child(script.spec("b", Restart.TEMPORARY))
    crash(tree, "b")
    eventually(lambda: "b" not in generations(tree), "it is forgotten")
    assert not ref.is_alive()
    tree.start_child(script.spec("b", Restart.TEMPORARY))
    tree.terminate_child("b")
    tree.start_child(script.spec("b", Restart.TEMPORARY))
    crash(tree, "a")
    serves(tree, "a", 2)
    assert set(generations(tree)) == {"a", "t"}, "one that was there from the start can be wanted again"
    tree.restart_child("t")
    serves(tree, "t", 2)


def test_what_was_sent_to_a_child_that_is_deleted_is_told(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    entered = threading.Event()

    def hold(_probe: Probe) -> None:
        entered.set()
        script.release.wait(30)

    ref = tree.start_child(script.spec("b", Restart.TEMPORARY, shutdown=0.3))
    ref.tell(Do(hold))
    assert entered.wait(30)
    ref.tell(Tell("never"))
    tree.terminate_child("b")
    assert script.count(EventKind.DROPPED, "b") == 1
    assert script.count(EventKind.ABANDONED, "b") == 1


def test_who_would_wait_for_itself_is_refused(make_tree: MakeTree, script: Script) -> None:
    refused: list[str] = []

    def on_event(event: Any) -> None:
        script.events.append(event)
        if event.kind is EventKind.CRASHED:
            with pytest.raises(RuntimeError) as error:
                tree.start_child(script.spec("b"))
            refused.append(str(error.value))

    tree = make_tree("a", on_event=on_event)
    with pytest.raises(RuntimeError, match="a would wait for its own end"):
        tree.directory.ask("a", Do(lambda _probe: tree.terminate_child("a")), 30)
    serves(tree, "a", 2)
    assert refused == ["the supervisor would wait for itself"]


def test_a_tree_that_does_not_run_changes_nothing(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", start=False)
    with pytest.raises(RuntimeError, match="has not been started"):
        tree.start_child(script.spec("b"))
    tree.start()
    tree.stop()
    with pytest.raises(RuntimeError, match="has ended"):
        tree.start_child(script.spec("b"))


@pytest.mark.parametrize("end", ["stop", "restart"])
def test_an_actor_that_waits_for_a_child_is_not_waited_for(end: str, make_tree: MakeTree, script: Script) -> None:
    """The supervisor starts something slow; meanwhile an actor wants a sibling; then the actor is to stop."""
    tree = make_tree("a", "b", strategy=Strategy.REST_FOR_ONE)
    slow, go, wants = threading.Event(), threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def hold(_probe: Probe) -> None:
        slow.set()
        go.wait(30)

    script.acts["slow", "started", 1] = hold

    def add() -> None:
        with suppress(StartError):  # where the tree is stopped
            tree.start_child(script.spec("slow", Restart.TRANSIENT))

    adder = threading.Thread(target=add)
    adder.start()
    assert slow.wait(30)

    def want(_probe: Probe) -> None:
        wants.set()
        try:
            tree.start_child(script.spec("wanted"))
        except RuntimeError as error:
            errors.append(error)

    tree.directory.send("b", Do(want))
    assert wants.wait(30)
    eventually(lambda: tree._requests.waiting)
    if end == "stop":
        tree.request_stop()
    else:
        crash(tree, "a")
        life = tree._children["a"].incarnation
        eventually(lambda: life is None or life.over)
    go.set()
    adder.join(30)
    if end == "stop":
        tree.stop()
    else:
        serves(tree, "b", 2)
    assert len(errors) == 1
    assert script.count(EventKind.ABANDONED) == 0


def test_a_wait_that_is_too_long_for_its_caller_is_void(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    slow, go = threading.Event(), threading.Event()

    def hold(_probe: Probe) -> None:
        slow.set()
        go.wait(30)

    script.acts["slow", "started", 1] = hold
    adder = threading.Thread(target=lambda: tree.start_child(script.spec("slow")))
    adder.start()
    assert slow.wait(30)
    with pytest.raises(AskTimeoutError):
        tree.start_child(script.spec("b"), 0.01)
    go.set()
    adder.join(30)
    tree.start_child(script.spec("c"))
    assert set(generations(tree)) == {"a", "slow", "c"}


def test_many_threads_add_and_end_children_at_once(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")

    def come_and_go(number: int) -> None:
        for turn in range(10):
            name = f"{number}-{turn}"
            assert tree.start_child(script.spec(name)).ask(Which(), timeout=30) == 1
            tree.terminate_child(name)
            tree.delete_child(name)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(generations(tree)) == {"a"}
    assert script.count(EventKind.STARTED) == 51
    assert script.count(EventKind.CRASHED) == 0


# --- Trees in trees ---------------------------------------------------------------------------------------------------


class Inner:
    """Makes the inner tree of a test, once for each life of it."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.script = script
        self.options = {"backoff": Backoff(initial=0.001, maximum=0.01), "intensity": 2, **options}
        self.trees: list[Supervisor] = []

    def spec(self, restart: Restart = Restart.PERMANENT, **options: Any) -> ChildSpec:
        def make(_context: Any) -> Supervisor:
            children = [self.script.spec("x"), self.script.spec("y")]
            self.trees.append(Supervisor(children, **self.options))
            return self.trees[-1]

        return ChildSpec("inner", make, restart, **options)


def test_a_tree_is_started_and_stopped_with_the_one_it_is_in(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", Inner(script).spec(), "b")
    assert list(script.phases("started")) == ["started a#1", "started x#1", "started y#1", "started b#1"]
    assert tree.stop() == ()
    assert list(script.phases("stopped")) == ["stopped b#1", "stopped y#1", "stopped x#1", "stopped a#1"]
    assert script.count(EventKind.CRASHED) == 0


def test_what_happens_inside_is_told_outside(make_tree: MakeTree, script: Script) -> None:
    inner = Inner(script)
    make_tree(inner.spec())
    crash(inner.trees[0], "x")
    serves(inner.trees[0], "x", 2)
    assert script.kinds("inner/x") == [
        EventKind.STARTED, EventKind.CRASHED, EventKind.RESTARTING, EventKind.STARTED,
    ]  # fmt: skip
    assert script.kinds("inner") == [EventKind.STARTED], "which is no failure of the tree"


def test_a_tree_that_gives_up_is_one_failure_in_the_one_around_it(make_tree: MakeTree, script: Script) -> None:
    inner = Inner(script)
    tree = make_tree("a", inner.spec())
    for generation in (1, 2, 3):
        serves(inner.trees[0], "x", generation)
        crash(inner.trees[0], "x")
    eventually(lambda: len(inner.trees) == 2)
    serves(inner.trees[1], "x")
    assert generations(tree) == {"a": 1, "inner": 2}
    assert inner.trees[0].wait(30) is Outcome.ESCALATED
    (event,) = [event for event in script.events if event.id == "inner" and event.kind is EventKind.CRASHED]
    assert event.error.startswith("EscalatedError: x failed, the restart after 2 in 30 s")
    assert tree.restarts == 1


def test_escalation_goes_on_from_tree_to_tree(make_tree: MakeTree, script: Script) -> None:
    inner = Inner(script, intensity=0)
    tree = make_tree("a", inner.spec(), intensity=1)
    for number in range(2):
        eventually(lambda number=number: len(inner.trees) > number)  # type: ignore[misc]
        serves(inner.trees[number], "x")
        crash(inner.trees[number], "x")
    assert tree.wait(30) is Outcome.ESCALATED
    assert tree.escalation is not None
    assert tree.escalation.startswith("inner failed, the restart after 1 in 30 s: EscalatedError: x failed")
    assert list(script.phases("stopped"))[-1] == "stopped a#1"


def test_a_tree_that_does_not_start_is_a_child_that_does_not(make_tree: MakeTree, script: Script) -> None:
    script.fail("y", "started", 1)
    with pytest.raises(StartError, match="inner did not start: StartError: y did not start: RuntimeError"):
        make_tree("a", Inner(script).spec())
    assert list(script.phases("stopped")) == ["stopped y#1", "stopped x#1", "stopped a#1"]


@pytest.mark.parametrize("phase", ["started", "stopped"])
def test_a_tree_that_hangs_costs_its_deadline_and_leaves_its_children_as_ghosts(
    phase: str, make_tree: MakeTree, script: Script
) -> None:
    inner = Inner(script)
    script.acts["y", phase, 1] = script.hang
    spec = inner.spec(startup=0.5, shutdown=0.5)
    if phase == "started":
        with pytest.raises(StartError, match=r"inner did not start: WedgedError: not up after 0\.5 s"):
            make_tree("a", spec)
    else:
        tree = make_tree("a", spec)
        tree.stop()
    eventually(lambda: inner.trees[0].wait(0) is not None, "the inner tree ends, too")
    assert inner.trees[0].stop() == ("y",)
    assert "stopped x#1" in script.lines
    assert "stopped a#1" in script.lines


def test_a_stop_during_the_start_of_an_inner_tree_is_no_crash(make_tree: MakeTree, script: Script) -> None:
    inner = Inner(script)
    entered = threading.Event()

    def hold(_probe: Probe) -> None:
        entered.set()
        # Not only until the outer tree is asked to stop: it may look again when its child has come up all the same.
        eventually(lambda: inner.trees[0]._shared.stop_requested)

    script.acts["x", "started", 1] = hold
    tree = make_tree("a", inner.spec(), start=False)

    def start() -> None:
        with pytest.raises(StartError, match="the tree was stopped"):
            tree.start()

    starter = threading.Thread(target=start)
    starter.start()
    assert entered.wait(30)
    tree.request_stop()
    assert tree.stop() == ()
    starter.join(30)
    assert script.count(EventKind.CRASHED, "inner") == 0


def test_trees_come_and_go_as_children_do(make_tree: MakeTree, script: Script) -> None:
    inner = Inner(script)
    tree = make_tree("a")
    tree.start_child(inner.spec())
    inner.trees[0].start_child(script.spec("z"))
    serves(inner.trees[0], "z")
    tree.terminate_child("inner")
    assert inner.trees[0].wait(30) is Outcome.STOPPED
    tree.restart_child("inner")
    serves(inner.trees[1], "x")


def test_what_is_no_actor_takes_no_messages_and_is_not_taken_for_unwell(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", Inner(script).spec(), ChildSpec("process", Program(["sleep", "600"])))
    for child in ("inner", "process"):
        assert tree.directory.send(child, "x") is False
        assert not tree.directory.ref(child).is_alive()
    assert [event.error for event in script.events if event.kind is EventKind.DROPPED] == ["str: it is no actor"] * 2
    eventually(lambda: tree.directory.unwell(10.0) == [])


# --- Ends that are significant ----------------------------------------------------------------------------------------


def ending(tree: Supervisor, child: str) -> None:
    tree.directory.send(child, Do(lambda probe: probe.stop()))


def test_the_first_significant_end_ends_the_tree(make_tree: MakeTree, script: Script) -> None:
    specs = [script.spec(child, Restart.TRANSIENT, significant=True) for child in "ab"]
    tree = make_tree("x", *specs, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    crash(tree, "a")  # not a normal end: it is started again
    serves(tree, "a", 2)
    ending(tree, "b")
    assert tree.wait(30) is Outcome.COMPLETED
    assert list(script.phases("stopped"))[-3:] == ["stopped b#1", "stopped a#2", "stopped x#1"]
    assert tree.escalation is None


def test_the_last_significant_end_ends_the_tree(make_tree: MakeTree, script: Script) -> None:
    specs = [script.spec(child, Restart.TRANSIENT, significant=True) for child in "ab"]
    tree = make_tree(*specs, script.spec("x", Restart.TRANSIENT), auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    ending(tree, "x")
    ending(tree, "b")
    eventually(lambda: script.count(EventKind.ENDED) == 2)
    serves(tree, "a")
    ending(tree, "a")
    assert tree.wait(30) is Outcome.COMPLETED


@pytest.mark.parametrize("how", [ending, crash])
def test_every_end_of_a_temporary_child_is_one(
    how: Callable[[Supervisor, str], None], make_tree: MakeTree, script: Script
) -> None:
    spec = script.spec("t", Restart.TEMPORARY, significant=True)
    tree = make_tree("a", spec, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    how(tree, "t")
    assert tree.wait(30) is Outcome.COMPLETED


def test_to_be_terminated_is_significant_to_nobody(make_tree: MakeTree, script: Script) -> None:
    specs = [script.spec(child, Restart.TRANSIENT, significant=True) for child in "ab"]
    tree = make_tree(*specs, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    tree.terminate_child("a")
    serves(tree, "b")
    ending(tree, "b")
    assert tree.wait(30) is Outcome.COMPLETED


def test_a_tree_that_ends_by_itself_is_a_child_that_ends_well(make_tree: MakeTree, script: Script) -> None:
    trees: list[Supervisor] = []

    def make(_context: Any) -> Supervisor:
        worker = script.spec("worker", Restart.TRANSIENT, significant=True)
        trees.append(Supervisor([worker], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT))
        return trees[-1]

    tree = make_tree("a", ChildSpec("inner", make, Restart.TRANSIENT))
    ending(trees[0], "worker")
    eventually(lambda: script.kinds("inner")[-1] is EventKind.ENDED)
    serves(tree, "a")
    assert len(trees) == 1


def test_what_contradicts_itself_is_refused(make_tree: MakeTree, script: Script) -> None:
    with pytest.raises(ValueError, match="a: a permanent child is always started again"):
        script.spec("a", significant=True)
    significant = script.spec("a", Restart.TRANSIENT, significant=True)
    with pytest.raises(ValueError, match="a is significant, but this tree never ends by itself"):
        Supervisor([significant])
    tree = make_tree("b")
    with pytest.raises(ValueError, match="a is significant"):
        tree.start_child(significant)
    serves(tree, "b")


# --- The supervisor's own sign of life --------------------------------------------------------------------------------


def test_a_supervisor_at_work_gives_a_sign_of_life(make_tree: MakeTree, clock: Any) -> None:
    beats: list[float] = []
    make_tree("a", clock=clock, heartbeat=lambda: beats.append(clock.monotonic()))
    for _ in range(3):
        count = len(beats)
        clock.advance(30.0)
        eventually(lambda count=count: len(beats) > count, "a beat")  # type: ignore[misc]
