"""Starting, stopping and giving up, at awkward moments."""

from __future__ import annotations

import gc
import math
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.supervision import (
    Attempts,
    Backoff,
    ChildSpec,
    Clock,
    EventKind,
    Outcome,
    Restart,
    StartError,
    Strategy,
    Supervisor,
)
from actors.supervision._child import Child
from actors.supervision._ghosts import Ghosts
from actors.supervision._incarnation import Incarnation
from actors.supervision._shared import Shared
from tests.supervision.support import (
    Do,
    FakeClock,
    Probe,
    Script,
    Tell,
    Which,
    crash,
    eventually,
    generations,
    raising,
    serves,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.supervision.conftest import MakeTree


@pytest.mark.parametrize("phase", ["constructor", "started"])
def test_a_child_that_does_not_start_fails_the_start_and_stops_what_was_started(
    phase: str, make_tree: MakeTree, script: Script
) -> None:
    error = OSError("no space left")
    script.fail("c", phase, 1, error=error)
    tree = make_tree("a", "b", "c", "d", start=False)
    with pytest.raises(StartError, match="c did not start: OSError: no space left") as caught:
        tree.start()
    assert caught.value.__cause__ is error
    assert tree.wait(0) is Outcome.FAILED
    assert list(script.phases("stopped"))[-2:] == ["stopped b#1", "stopped a#1"]
    assert not any("d#" in line for line in script.lines)
    assert {status.state for status in snapshot(tree)} == {"finished"}


class SlowToWake(Clock):
    """The real clock, but whoever waits for something sees it only when `ready` holds, too."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        super().wait(condition, timeout)
        while not self._ready():
            condition.wait(0.005)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize(
    ("restart", "generation"), [(Restart.PERMANENT, 2), (Restart.TRANSIENT, 2), (Restart.TEMPORARY, 1)]
)
def test_a_child_that_crashes_once_it_is_up_does_not_fail_the_start(
    restart: Restart, generation: int, strategy: Strategy, make_tree: MakeTree, script: Script
) -> None:
    lives: list[Incarnation] = []

    def come_up_and_crash(probe: Probe) -> None:
        lives.append(probe.context.incarnation)
        probe.post(Do(raising(RuntimeError("at its first message"))))

    script.acts["b", "started", 1] = come_up_and_crash
    slow = SlowToWake(lambda: not lives or lives[0].over)  # the supervisor is late: the life that it started is over
    tree = make_tree("a", script.spec("b", restart), "c", clock=slow, strategy=strategy)
    assert script.kinds("b")[:1] == [EventKind.STARTED]
    eventually(lambda: script.count(EventKind.CRASHED, "b") == 1)
    serves(tree, "c")
    if generation > 1:
        serves(tree, "b", generation)
    assert generations(tree)["b"] == generation


def test_failures_of_restarts_count_and_escalate(make_tree: MakeTree, script: Script) -> None:
    script.fail("b", "started", 2, 3, 4, error=OSError("still no space"))
    tree = make_tree("a", "b", "c", intensity=3)
    crash(tree, "b")
    assert tree.wait(30) is Outcome.ESCALATED
    assert tree.escalation == "b failed, the restart after 3 in 30 s: OSError: still no space"
    assert script.kinds("") == [EventKind.ESCALATED, EventKind.STOPPED]
    assert list(script.phases("stopped"))[-2:] == ["stopped c#1", "stopped a#1"]
    assert tree.stop() == ()
    assert not tree.directory.send("a", "late")


def test_intensity_zero_escalates_at_the_first_failure(make_tree: MakeTree) -> None:
    tree = make_tree("a", intensity=0)
    crash(tree, "a")
    assert tree.wait(30) is Outcome.ESCALATED
    assert tree.restarts == 0


def test_waits_grow_and_a_quiet_life_resets_them(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    backoff = Backoff(initial=1.0, factor=2.0, maximum=60.0, jitter=0.5, quiet=100.0)
    tree = make_tree("a", intensity=3, period=1000.0, backoff=backoff, clock=clock, random=lambda: 0.5)
    delays: list[float] = []

    def fail_and_return() -> None:
        crash(tree, "a")
        eventually(lambda: script.count(EventKind.RESTARTING) > len(delays))
        delays.append([event.delay for event in script.events if event.kind is EventKind.RESTARTING][-1])
        generation = generations(tree)["a"]
        clock.advance(delays[-1] * 0.99)
        assert snapshot(tree)[0].state == "waiting"
        clock.advance(delays[-1] * 0.02)
        serves(tree, "a", generation + 1)

    fail_and_return()
    fail_and_return()
    clock.advance(101.0)
    fail_and_return()
    assert delays == [1.0, 2.0, 1.0]


def test_a_life_that_takes_long_to_end_was_not_quiet(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    backoff = Backoff(initial=1.0, factor=2.0, jitter=0.0, quiet=100.0)
    tree = make_tree(script.spec("a", shutdown=3600.0), backoff=backoff, clock=clock, intensity=2, period=1000.0)
    for generation in (1, 2):
        script.acts["a", "stopped", generation] = lambda _probe: clock.advance(101.0)
        crash(tree, "a")
        script.await_count(EventKind.RESTARTING, generation)
        clock.advance(5.0)
        serves(tree, "a", generation + 1)
    assert [event.delay for event in script.events if event.kind is EventKind.RESTARTING] == [1.0, 2.0]


def test_stop_during_backoff_does_not_wait_for_it(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", "b", backoff=Backoff(initial=3600.0, maximum=3600.0), intensity=1, period=1e6)
    crash(tree, "a")
    eventually(lambda: script.count(EventKind.RESTARTING) == 1)
    assert snapshot(tree)[0].state == "waiting"
    tree.directory.send("a", Tell("kept for it"))
    assert tree.stop() == ()
    assert generations(tree) == {"a": 1, "b": 1}
    assert script.count(EventKind.DROPPED, "a") == 1


@pytest.mark.parametrize("phase", ["constructor", "started"])
@pytest.mark.parametrize("generation", [1, 2])
def test_stop_while_a_child_is_starting(phase: str, generation: int, make_tree: MakeTree, script: Script) -> None:
    entered = threading.Event()

    def enter(_probe: Probe) -> None:
        entered.set()
        script.hang()

    script.acts["b", phase, generation] = enter
    tree = make_tree("a", script.spec("b", startup=3600.0), "c", start=False)
    errors: list[StartError] = []

    def start() -> None:
        try:
            tree.start()
        except StartError as error:
            errors.append(error)

    starter = threading.Thread(target=start)
    starter.start()
    if generation == 2:
        serves(tree, "c")
        crash(tree, "b")
    assert entered.wait(30)
    tree.request_stop()
    incarnation = tree._children["b"].incarnation
    assert incarnation is not None
    eventually(lambda: incarnation.stop_requested)
    script.release.set()  # its start ends well, but it may not come up any more
    assert tree.stop() == ()
    starter.join(30)
    assert [str(error) for error in errors] == (["b did not start: the tree was stopped"] if generation == 1 else [])
    assert tree.wait(0) is (Outcome.FAILED if generation == 1 else Outcome.STOPPED)
    assert script.count(EventKind.STARTED, "b") == generation - 1
    assert [line for line in script.phases("stopped") if "a#" in line] == ["stopped a#1"]


def test_the_shortest_of_the_deadlines_for_the_stop_counts(clock: FakeClock) -> None:
    shared = Shared(Ghosts(1, 600.0), clock, None)
    for timeout, left in [(None, math.inf), (4.0, 4.0), (3600.0, 4.0), (None, 4.0), (1.0, 1.0)]:
        shared.request_stop(timeout)
        assert shared.stop_by - clock.monotonic() == left


def test_stop_before_start_starts_nothing(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", start=False)
    tree.request_stop()
    with pytest.raises(StartError, match="stopped"):
        tree.start()
    assert script.lines == []


def test_an_actor_can_end_the_tree_without_waiting_for_itself(make_tree: MakeTree) -> None:
    tree = make_tree("a", "b")
    tree.directory.send("a", Do(lambda _probe: tree.request_stop()))
    assert tree.wait(30) is Outcome.STOPPED
    assert tree.stop() == ()


def test_a_callback_can_end_the_tree(make_tree: MakeTree) -> None:
    trees: list[Supervisor] = []

    def stop_on_crash(event: Any) -> None:
        if event.kind is EventKind.CRASHED:
            trees[0].stop()

    trees.append(make_tree("a", on_event=stop_on_crash))
    crash(trees[0], "a")
    assert trees[0].wait(30) is Outcome.STOPPED


def test_a_callback_that_fails_harms_nobody(make_tree: MakeTree, caplog: pytest.LogCaptureFixture) -> None:
    tree = make_tree("a", on_event=raising(RuntimeError("no log")))
    crash(tree, "a")
    serves(tree, "a", 2)
    assert "on_event failed for started of a" in caplog.text


def test_a_callback_may_send_what_nobody_takes(make_tree: MakeTree, script: Script) -> None:
    trees: list[Supervisor] = []
    dropped = []

    def log(event: Any) -> None:
        script.events.append(event)
        if trees and not trees[0].directory.send("log", event):  # which is itself a message dropped
            dropped.append(event)

    trees.append(make_tree("log", "a", on_event=log))
    trees[0].stop()
    assert dropped != []


def test_a_tree_is_started_once(make_tree: MakeTree) -> None:
    tree = make_tree("a")
    with pytest.raises(RuntimeError, match="once"):
        tree.start()


def test_an_actor_is_made_by_its_specification_and_not_started(make_tree: MakeTree, script: Script) -> None:
    with pytest.raises(StartError, match="its supervisor starts it"):
        make_tree(ChildSpec("a", lambda context: Probe.start(context, script)))
    assert pykka.ActorRegistry.get_by_class(Probe) == []


def test_a_child_is_not_started_before_the_latest_of_its_waits_is_over(script: Script) -> None:
    child = Child(script.spec("a"), Attempts(Backoff(), lambda: 0.5), Shared(Ghosts(1, 600.0), FakeClock(), None))
    child.wait_until(5.0)
    child.wait_until(3.0)
    assert child.due == 5.0
    child.wait_until(7.0)
    assert child.due == 7.0


def test_ids_are_unique(script: Script) -> None:
    with pytest.raises(ValueError, match="two children have the id a"):
        Supervisor([script.spec("a"), script.spec("a")])


@pytest.mark.parametrize("options", [{"startup": 0}, {"shutdown": -1}, {"health": float("nan")}, {"mailbox": 0}])
def test_a_specification_that_makes_no_sense_is_refused(options: dict[str, Any], script: Script) -> None:
    with pytest.raises(ValueError, match=f"a: {next(iter(options))}"):
        script.spec("a", **options)


def test_threads_bear_the_names_of_their_children_and_are_daemons(make_tree: MakeTree) -> None:
    tree = make_tree("a", "b")
    tree.directory.ask("a", Do(lambda probe: bool(probe.after(3600, "never"))), 30)
    threads = {thread.name: thread.daemon for thread in threading.enumerate()}
    for name in ("a#1", "b#1", "supervisor", "timers"):
        assert threads[name]


def test_constructor_messages_and_end_share_one_thread(make_tree: MakeTree, script: Script) -> None:
    threads: list[int] = []
    for phase in ("constructor", "started", "stopped"):
        script.acts["a", phase, 1] = lambda _probe: threads.append(threading.get_ident())
    tree = make_tree("a")
    threads.append(tree.directory.ask("a", Do(lambda _probe: threading.get_ident()), 30))
    tree.stop()
    assert len(threads) == 4
    assert len(set(threads)) == 1


class RecordingClock(Clock):
    """The real clock, which notes for how long whom it lets sleep."""

    def __init__(self) -> None:
        self.waits: dict[str, float | None] = {}
        self.counts: Counter[str] = Counter()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        self.waits[threading.current_thread().name] = timeout
        self.counts[threading.current_thread().name] += 1
        super().wait(condition, timeout)


def test_an_idle_tree_sleeps(make_tree: MakeTree) -> None:
    clock = RecordingClock()
    tree = make_tree("a", "b", "c", clock=clock)
    for child in ("a", "b", "c"):
        tree.directory.ask(child, Do(lambda probe: bool(probe.after(3600, "never"))), 30)
    # After the last message at most one look of the health watch is still to come, ten seconds later.
    eventually(lambda: set(clock.waits) == {"supervisor", "timers"})
    eventually(lambda: all(wait is None or wait > 2 for wait in clock.waits.values()))


def test_messages_do_not_wake_the_supervisor_each(make_tree: MakeTree) -> None:
    clock = RecordingClock()
    tree = make_tree("a", "b", clock=clock)
    for _ in range(100):
        for child in ("a", "b"):
            tree.directory.ask(child, Which(), 30)
    assert clock.counts["supervisor"] < 20  # the first one does, to have a look planned


def test_the_supervisor_sleeps_no_longer_than_an_actor_may_take_to_leave(make_tree: MakeTree, script: Script) -> None:
    clock = RecordingClock()
    tree = make_tree(script.spec("a", health=None, shutdown=20.0), clock=clock)
    entered, go = threading.Event(), threading.Event()

    def fail(_probe: Probe) -> None:
        entered.set()
        go.wait(30)
        raise RuntimeError

    script.acts["a", "stopped", 1] = script.hang
    tree.directory.send("a", Do(fail))
    assert entered.wait(30)
    eventually(lambda: (clock.waits.get("supervisor") or 0.0) > 25)  # it sleeps, for long
    go.set()
    eventually(lambda: (clock.waits["supervisor"] or 30.0) <= 20)
    assert script.count(EventKind.ABANDONED) == 0


@pytest.mark.parametrize("strategy", Strategy)
def test_two_hundred_crashes_leave_no_thread_and_no_life_behind(
    strategy: Strategy, make_tree: MakeTree, script: Script
) -> None:
    def spawn_and_crash(probe: Probe) -> None:
        done = threading.Event()
        probe.spawn_reader(done.wait, close=done.set)
        probe.after(3600, "never")
        raise RuntimeError("crash")

    def lives() -> int:
        gc.collect()
        return sum(isinstance(thing, Incarnation) for thing in gc.get_objects())

    others = lives()  # of trees of other tests, whose abandoned threads may hold them
    tree = make_tree("a", "b", strategy=strategy, intensity=1000, period=1e6, backoff=Backoff(initial=0.0))
    serves(tree, "b")
    timers_and_all = threading.active_count() + 1
    for crashes in range(200):
        child = "ab"[crashes % 2]
        before = generations(tree)[child]
        tree.directory.send(
            child, [Do(spawn_and_crash), Do(raising(SystemExit())), Do(lambda p: p.stop())][crashes % 3]
        )
        serves(tree, child, before + 1)
    serves(tree, "b")
    eventually(lambda: threading.active_count() <= timers_and_all)
    assert len(pykka.ActorRegistry.get_by_class(Probe)) == 2
    script.events.clear()
    eventually(lambda: lives() <= others + 4)
    tree.stop()
    eventually(lambda: threading.active_count() <= timers_and_all - 4)
