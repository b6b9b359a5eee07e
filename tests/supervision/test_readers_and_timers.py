"""What an actor owns besides its mailbox: blocking readers, and timers."""

from __future__ import annotations

import io
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.supervision import Clock, EventKind
from actors.supervision._actor import READ_AHEAD
from actors.supervision._timers import Timers
from actors.supervision.debug import dump_stacks, stack_of
from tests.supervision.support import Do, FakeClock, Probe, Script, Tell, crash, eventually, serves

if TYPE_CHECKING:
    from tests.supervision.conftest import MakeTree


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_a_blocked_read_ends_with_its_actor_and_is_no_crash(end: str, make_tree: MakeTree, script: Script) -> None:
    ours, theirs = socket.socketpair()

    def listen(probe: Probe) -> None:
        def read() -> None:
            while data := ours.recv(100):
                assert probe.post(Tell(data.decode()))
            raise OSError("closed under the reader")

        def close() -> None:
            ours.shutdown(socket.SHUT_RDWR)
            ours.close()

        probe.spawn_reader(read, "stream", close)

    script.acts["a", "started", 1] = listen
    tree = make_tree("a")
    theirs.send(b"hello")
    eventually(lambda: script.told["a"] == ["hello"])
    assert "a#1/stream" in names()
    if end == "stop":
        assert tree.stop() == ()
    else:
        crash(tree, "a")
        serves(tree, "a", 2)
    assert "a#1/stream" not in names()
    assert script.count(EventKind.CRASHED) == (end == "crash")
    theirs.close()


def test_a_reader_that_ends_well_changes_nothing(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    reader = tree.directory.ask("a", Do(lambda probe: probe.spawn_reader(lambda: probe.post(Tell("the end")))), 30)
    reader.join(30)
    serves(tree, "a")
    assert script.told["a"] == ["the end"]
    assert script.count(EventKind.CRASHED) == 0


@pytest.mark.parametrize(("end", "closers"), [("return", []), ("raise", ["a#1"]), ("stop", ["a#1"])])
def test_what_a_reader_reads_from_is_closed_unless_it_returned(
    end: str, closers: list[str], make_tree: MakeTree, script: Script
) -> None:
    closed: list[str] = []
    done = threading.Event()

    def close() -> None:
        closed.append(threading.current_thread().name)
        done.set()

    def read() -> None:
        done.wait(30)
        if end == "raise":
            raise OSError

    tree = make_tree("a")
    reader = tree.directory.ask("a", Do(lambda probe: probe.spawn_reader(read, "r", close)), 30)
    if end != "stop":
        done.set()
        reader.join(30)
    if end == "raise":
        serves(tree, "a", 2)
    tree.stop()
    assert closed == closers


def test_each_thing_is_released_whatever_the_others_raise(make_tree: MakeTree, script: Script) -> None:
    def listen(probe: Probe) -> None:
        for name in "12":
            done = threading.Event()

            def close(name: str = name, done: threading.Event = done) -> None:
                script.lines.append(f"closed {name}")
                done.set()
                raise OSError(name)

            probe.spawn_reader(done.wait, name, close)

    script.acts["a", "started", 1] = listen
    script.fail("a", "stopped", 1)
    tree = make_tree("a")
    crash(tree, "a")
    serves(tree, "a", 2)
    assert script.lines[2:5] == ["closed 2", "closed 1", "stopped a#1"]
    (event,) = [event for event in script.events if event.kind is EventKind.CRASHED]
    assert event.error == "RuntimeError: crash"
    assert [line for line in event.trace.splitlines() if line.startswith("and then")] == [
        "and then OSError: 2", "and then OSError: 1", "and then RuntimeError: stopped of a",
    ]  # fmt: skip


def test_timers_may_be_set_while_the_actor_leaves(make_tree: MakeTree, script: Script) -> None:
    leaving = threading.Event()

    def listen(probe: Probe) -> None:
        def arm() -> None:
            while not leaving.is_set():
                probe.after(3600.0, "never")

        probe.spawn_reader(arm, close=leaving.set)

    tree = make_tree("a", intensity=50)
    for generation in range(1, 21):
        leaving.clear()
        tree.directory.ask("a", Do(listen), 30)
        crash(tree, "a")
        serves(tree, "a", generation + 1)
    assert len(list(script.phases("stopped"))) == 20
    assert script.count(EventKind.CRASHED) == 20
    assert {event.error for event in script.events if event.kind is EventKind.CRASHED} == {"RuntimeError: crash"}


def test_a_reader_waits_for_an_actor_that_does_not_keep_up(make_tree: MakeTree, script: Script) -> None:
    posted: list[int] = []
    total = 3 * READ_AHEAD

    def listen(probe: Probe) -> None:
        def read() -> None:
            for number in range(total):
                assert probe.post(Tell(str(number)))
                posted.append(number)

        probe.spawn_reader(read)
        eventually(lambda: len(posted) == READ_AHEAD)  # and not one more, while this message is in hand

    tree = make_tree("a")
    tree.directory.ask("a", Do(listen), 30)
    eventually(lambda: len(script.told["a"]) == total)
    assert script.told["a"] == [str(number) for number in range(total)]


@pytest.mark.parametrize("end", ["stop", "crash", "wedge"])
def test_readers_that_wait_for_their_actor_find_out_that_it_is_gone(
    end: str, make_tree: MakeTree, script: Script
) -> None:
    def listen(probe: Probe) -> None:
        def read() -> None:
            while probe.post("x"):
                pass

        for number in range(3):
            probe.spawn_reader(read, str(number))
        eventually(lambda: probe.actor_inbox.qsize() >= READ_AHEAD)  # type: ignore[attr-defined]
        if end == "stop":
            probe.stop()
        elif end == "crash":
            raise RuntimeError
        else:
            script.hang()

    tree = make_tree(script.spec("a", health=0.2))
    tree.directory.send("a", Do(listen))
    serves(tree, "a", 2)
    eventually(lambda: not {name for name in names() if name.startswith("a#1/")})


def test_timers_fire_in_order_and_only_when_due(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    tree = make_tree("a", clock=clock)

    def arm(probe: Probe) -> None:
        for seconds in (3.0, 1.0, 2.0):
            probe.after(seconds, Tell(str(seconds)))
        cancelled = probe.after(1.5, Tell("cancelled"))
        assert cancelled.active
        assert cancelled.cancel()
        assert not cancelled.cancel()
        assert not cancelled.active

    tree.directory.ask("a", Do(arm), 30)
    clock.advance(2.5)
    eventually(lambda: script.told["a"] == ["1.0", "2.0"])
    serves(tree, "a")
    assert script.told["a"] == ["1.0", "2.0"]
    clock.advance(0.5)
    eventually(lambda: script.told["a"] == ["1.0", "2.0", "3.0"])


def test_timers_end_with_the_life_that_set_them(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    tree = make_tree("a", clock=clock)
    timer = tree.directory.ask("a", Do(lambda probe: probe.after(60.0, Tell("first"))), 30)
    crash(tree, "a")
    script.await_count(EventKind.RESTARTING, 1)
    assert not timer.active
    clock.advance(1.0)
    tree.directory.ask("a", Do(lambda probe: bool(probe.after(60.0, Tell("second")))), 30)
    clock.advance(61.0)
    eventually(lambda: script.told["a"] != [])
    assert script.told["a"] == ["second"]


def test_who_watches_is_not_woken_before_there_is_something_to_handle(
    make_tree: MakeTree, script: Script, clock: FakeClock
) -> None:
    looks: list[str] = []

    def look() -> Tell | None:
        looks.append(threading.current_thread().name)
        return Tell(f"at look {len(looks)}") if len(looks) == 3 else None

    tree = make_tree("a", clock=clock)
    tree.directory.ask("a", Do(lambda probe: probe.watch(10.0, look)), 30)
    for count in (1, 2):
        clock.advance(9.0)
        assert len(looks) == count - 1
        clock.advance(1.0)
        eventually(lambda count=count: len(looks) == count and tree._shared.timers._heap, "it is to look again")  # type: ignore[misc]
        assert script.told["a"] == []
    clock.advance(10.0)
    eventually(lambda: script.told["a"] == ["at look 3"])
    assert looks == ["timers"] * 3
    # It looks no more until told to.
    tree.directory.ask("a", Do(lambda probe: bool(probe.after(60.0, Tell("later")))), 30)
    clock.advance(60.0)
    eventually(lambda: script.told["a"][1:] == ["later"])
    assert len(looks) == 3


def test_watching_ends_with_the_life_that_began_it(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)

    tree = make_tree("a", clock=clock)
    tree.directory.ask("a", Do(lambda probe: probe.watch(10.0, look)), 30)
    crash(tree, "a")
    script.await_count(EventKind.RESTARTING, 1)
    clock.advance(1.0)
    tree.directory.ask("a", Do(lambda probe: bool(probe.after(60.0, Tell("later")))), 30)
    clock.advance(60.0)
    eventually(lambda: script.told["a"] == ["later"])
    assert looks == []


def test_who_can_not_look_any_more_crashes(make_tree: MakeTree, script: Script, clock: FakeClock) -> None:
    def look() -> None:
        raise OSError("nothing to be seen")

    tree = make_tree("a", clock=clock)
    tree.directory.ask("a", Do(lambda probe: probe.watch(10.0, look)), 30)
    clock.advance(10.0)
    script.await_count(EventKind.RESTARTING, 1)
    assert [event.error for event in script.events if event.kind is EventKind.CRASHED] == [
        "OSError: nothing to be seen"
    ]
    clock.advance(1.0)
    serves(tree, "a", 2)


def test_a_timer_that_is_re_armed_all_the_time_does_not_pile_up(clock: FakeClock) -> None:
    timers = Timers(clock)
    for _ in range(10_000):
        timers.schedule(3600.0, lambda: None).cancel()
    assert len(timers._heap) < 200
    timers.close()


def test_an_earlier_timer_wakes_the_thread_that_sleeps_for_a_later_one() -> None:
    timers = Timers(Clock())
    timers.schedule(3600.0, lambda: None)
    eventually(
        lambda: any("in wait" in stack_of(thread) for thread in threading.enumerate() if thread.name == "timers")
    )
    fired = threading.Event()
    timers.schedule(0.001, fired.set)
    assert fired.wait(30)
    timers.close()


def test_timers_keep_their_order_when_the_cancelled_ones_are_cleared_away(clock: FakeClock) -> None:
    timers = Timers(clock)
    seconds = [float((37 * number) % 1000 + 1) for number in range(1000)]
    fired: list[float] = []
    handles = [timers.schedule(second, partial(fired.append, second)) for second in seconds]
    for number, handle in enumerate(handles):
        if number % 3:
            handle.cancel()
    left = sorted(seconds[::3])
    assert len(timers._heap) < len(seconds)
    clock.advance(1001.0)
    eventually(lambda: len(fired) == len(left))
    timers.close()
    assert fired == left


def test_a_callback_that_fails_does_not_end_the_others(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    timers = Timers(clock)
    fired = threading.Event()
    timers.schedule(1.0, lambda: 1 / 0)
    timers.schedule(1.0, fired.set)
    clock.advance(1.0)
    assert fired.wait(30)
    assert "a timer's callback failed" in caplog.text
    timers.close()
    assert not timers.schedule(1.0, fired.set).active


plans = st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=40)


@given(plan=plans, moments=st.lists(st.integers(0, 100), max_size=5))
@settings(deadline=None)
def test_any_timers_fire_once_in_the_order_of_their_times(plan: list[tuple[int, bool]], moments: list[int]) -> None:
    clock = FakeClock()
    timers = Timers(clock)
    fired: list[int] = []
    handles = [timers.schedule(seconds, partial(fired.append, number)) for number, (seconds, _) in enumerate(plan)]
    # Those that are due at once may have fired already.
    cancelled = {number for number, (_, cancel) in enumerate(plan) if cancel and handles[number].cancel()}
    left = [number for number in range(len(plan)) if number not in cancelled]
    left.sort(key=lambda number: plan[number][0])
    past = 0
    for moment in [*sorted(moments), 100]:
        clock.advance(moment - past)
        past = moment
        due = [number for number in left if plan[number][0] <= moment]
        eventually(partial(_has, fired, due))
    timers.close()
    assert fired == left


def _has(fired: list[int], due: list[int]) -> bool:
    seen = list(fired)
    assert seen == due[: len(seen)]  # never too early
    return len(seen) == len(due)


def test_stacks_are_dumped_with_the_names_of_threads(make_tree: MakeTree, script: Script) -> None:
    entered = threading.Event()

    def enter_and_hang(_probe: Probe) -> None:
        entered.set()
        script.hang()

    tree = make_tree("a")
    tree.directory.send("a", Do(enter_and_hang))
    assert entered.wait(30)
    file: Any = io.StringIO()
    dump_stacks(file)
    text = file.getvalue()
    assert "a#1 (daemon)\n" in text
    assert " in enter_and_hang\n" in text
    assert "\nsupervisor (daemon)\n" in text
