"""A real actor fails in every one of its phases, in every manner, and the tree serves again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.supervision import ActorGoneError, ChildSpec, EventKind, StartError, Strategy
from tests.supervision.support import Do, ExpectedError, Probe, Script, Tell, Which, crash, eventually, raising, serves

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision import Supervisor
    from tests.supervision.conftest import MakeTree


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def asked(tree: Supervisor, error: BaseException) -> None:
    """The asker gets the error, but never one that would end it, too."""
    with pytest.raises(type(error) if isinstance(error, Exception) else ActorGoneError):
        tree.directory.ask("victim", Do(raising(error)), 30)


def asked_through_its_ref(tree: Supervisor, error: BaseException) -> None:
    ref = tree.directory.ask("victim", Do(lambda probe: probe.actor_ref), 30)
    with pytest.raises(type(error) if isinstance(error, Exception) else ActorGoneError):
        ref.ask(Do(raising(error)), timeout=30)


def told_through_its_ref(tree: Supervisor, error: BaseException) -> None:
    ref = tree.directory.ask("victim", Do(lambda probe: probe.actor_ref), 30)
    ref.tell(Do(raising(error)))


def timed(tree: Supervisor, error: BaseException) -> None:
    tree.directory.send("victim", Do(lambda probe: probe.after(0.001, Do(raising(error)))))


def reading(tree: Supervisor, error: BaseException) -> None:
    def read() -> None:
        raise error

    tree.directory.send("victim", Do(lambda probe: probe.spawn_reader(read)))


def stopping(tree: Supervisor, error: BaseException) -> None:
    def stop(probe: Probe) -> None:
        probe.script.acts["victim", "stopped", 1] = raising(error)
        probe.stop()

    tree.directory.send("victim", Do(stop))


def closing(tree: Supervisor, error: BaseException) -> None:
    done = threading.Event()

    def close() -> None:
        done.set()
        raise error

    def stop(probe: Probe) -> None:
        probe.spawn_reader(done.wait, close=close)
        probe.stop()

    tree.directory.send("victim", Do(stop))


def restarting_into(phase: str) -> Callable[[Supervisor, BaseException], None]:
    def act(tree: Supervisor, error: BaseException) -> None:
        def plan(probe: Probe) -> None:
            probe.script.acts["victim", phase, 2] = raising(error)
            raise RuntimeError("the first")

        tree.directory.send("victim", Do(plan))

    return act


MANNERS: dict[str, Callable[[Supervisor, BaseException], None]] = {
    "message": lambda tree, error: crash(tree, "victim", error),
    "ask": asked,
    "bare tell": told_through_its_ref,
    "bare ask": asked_through_its_ref,
    "timer": timed,
    "reader": reading,
    "stopped": stopping,
    "close": closing,
    "constructor": restarting_into("constructor"),
    "started": restarting_into("started"),
}


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit, UnprintableError])
@pytest.mark.parametrize("manner", MANNERS)
def test_the_tree_serves_again_after_a_crash(
    manner: str, error: type[BaseException], strategy: Strategy, make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree("before", "victim", "after", strategy=strategy)
    MANNERS[manner](tree, error())
    lives = 3 if manner in {"constructor", "started"} else 2
    serves(tree, "victim", lives)
    for sibling in ("before", "after"):
        serves(tree, sibling, 2 if strategy is Strategy.ONE_FOR_ALL else 1)
    eventually(lambda: script.count(EventKind.CRASHED, "victim") == lives - 1)
    last = [event for event in script.events if event.kind is EventKind.CRASHED][-1]
    assert last.error.startswith(error.__name__)
    assert "test_crashes.py" in last.trace or "support.py" in last.trace
    assert tree.escalation is None


@pytest.mark.parametrize("manner", ["message", "ask", "timer", "reader", "bare tell", "bare ask"])
def test_what_was_started_is_stopped_once_before_the_successor_is_constructed(
    manner: str, make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree("victim")
    MANNERS[manner](tree, RuntimeError())
    serves(tree, "victim", 2)
    assert script.lines == [
        "constructor victim#1", "started victim#1", "stopped victim#1", "constructor victim#2", "started victim#2",
    ]  # fmt: skip


def test_stopped_runs_after_a_failed_start_but_not_after_a_failed_constructor(
    make_tree: MakeTree, script: Script
) -> None:
    script.fail("victim", "constructor", 2)
    script.fail("victim", "started", 3)
    tree = make_tree("victim")
    crash(tree, "victim")
    serves(tree, "victim", 4)
    assert script.lines[3:] == [
        "constructor victim#2",
        "constructor victim#3", "started victim#3", "stopped victim#3",
        "constructor victim#4", "started victim#4",
    ]  # fmt: skip


def test_the_first_error_is_the_reason_and_the_next_is_told_with_it(make_tree: MakeTree, script: Script) -> None:
    script.fail("victim", "stopped", 1, error=OSError("then"))
    tree = make_tree("victim")
    crash(tree, "victim", ValueError("first"))
    serves(tree, "victim", 2)
    (event,) = [event for event in script.events if event.kind is EventKind.CRASHED]
    assert event.error == "ValueError: first"
    assert event.trace.splitlines()[-1] == "and then OSError: then"


def test_an_expected_error_goes_to_the_asker_and_the_actor_lives(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("victim")
    with pytest.raises(ExpectedError, match="as agreed"):
        tree.directory.ask("victim", Do(raising(ExpectedError("as agreed"))), 30)
    assert tree.directory.ask("victim", Which(), 30) == 1
    assert script.count(EventKind.CRASHED) == 0


def test_an_expected_error_that_nobody_asked_for_is_a_crash(make_tree: MakeTree) -> None:
    tree = make_tree("victim")
    crash(tree, "victim", ExpectedError())
    serves(tree, "victim", 2)


def test_the_trace_has_lines_of_code_and_no_values(make_tree: MakeTree, script: Script) -> None:
    def fail(probe: Probe) -> None:
        secret = f"hunter{probe.context.generation}"
        raise RuntimeError(f"{len(secret)} characters")

    tree = make_tree("victim")
    tree.directory.send("victim", Do(fail))
    serves(tree, "victim", 2)
    (event,) = [event for event in script.events if event.kind is EventKind.CRASHED]
    assert event.error == "RuntimeError: 7 characters"
    assert event.trace.splitlines()[-1].endswith("in fail")
    assert "hunter" not in repr(event)


def test_what_makes_no_actor_is_a_failed_start(make_tree: MakeTree, script: Script) -> None:
    calls: list[Any] = []

    def start(context: Any) -> object:
        calls.append(context)
        return Probe(context, script) if len(calls) > 1 else Bystander.start()

    with pytest.raises(StartError, match="start must make an actor, without starting it"):
        make_tree(ChildSpec("a", start))
    for ref in pykka.ActorRegistry.get_by_class(Bystander):
        ref.stop()


class Bystander(pykka.ThreadingActor):
    """A plain actor of somebody else's in the same process."""

    use_daemon_thread = True


def test_no_crash_stops_actors_outside_the_tree(make_tree: MakeTree) -> None:
    bystander = Bystander.start()
    try:
        tree = make_tree("victim")
        for generation, error in enumerate([SystemExit(), KeyboardInterrupt(), GeneratorExit()], start=2):
            crash(tree, "victim", error)
            serves(tree, "victim", generation)
        assert bystander.is_alive()
    finally:
        bystander.stop()


def test_two_askers_and_a_crash_between_them_get_one_answer_each(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("victim", "asker")

    def ask_after_crash(probe: Probe) -> Any:
        probe.send("victim", Do(raising(RuntimeError())))
        return probe.ask("victim", Which(), 30)

    # Sent behind the message that crashes the first life, answered by the second.
    assert tree.directory.ask("asker", Do(ask_after_crash), 30) == 2
    assert tree.directory.send("victim", Tell("still here"))
    eventually(lambda: script.told["victim"] == ["still here"])
