"""pykka actors that know nothing of supervision, as children: crashes in every hook, refs that stay good."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.supervision import (
    ActorGoneError,
    AskTimeoutError,
    Backoff,
    ChildSpec,
    EventKind,
    Restart,
    UnknownActorError,
)
from tests.supervision.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision import ChildRef, Supervisor
    from tests.supervision.conftest import MakeTree
    from tests.supervision.support import Script


class Shelf:
    """Something of an actor's that its proxy reaches into."""

    pykka_traversable = True

    def __init__(self) -> None:
        self.books = 3

    def add(self, count: int) -> int:
        self.books += count
        return self.books


class Counter(pykka.ThreadingActor):
    """Counts; fails where it is told to."""

    def __init__(self, hooks: list[str], plans: dict[tuple[str, int], BaseException], life: int) -> None:
        super().__init__()
        self.count = 0
        self.shelf = Shelf()
        self.life = life
        self._hooks = hooks
        self._plans = plans
        if life > 1:
            self.only_later = "new"
        self._pass("constructor")

    def _pass(self, hook: str) -> None:
        self._hooks.append(f"{hook} {self.life}")
        if (hook, self.life) in self._plans:
            raise self._plans[hook, self.life]

    def on_start(self) -> None:
        self._pass("on_start")

    def on_stop(self) -> None:
        self._pass("on_stop")

    def on_failure(self, *_: Any) -> None:
        self._pass("on_failure")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if callable(message):
            return message(self)
        self.count += message
        return self.count

    def add(self, number: int = 1) -> int:
        self.count += number
        return self.count

    def fail(self) -> None:
        raise ValueError("as told")


class Kept:
    """A tree with one counter in it, and what happened there."""

    def __init__(self, make_tree: MakeTree, kind: type[Counter] = Counter, **options: Any) -> None:
        self.hooks: list[str] = []
        self.plans: dict[tuple[str, int], BaseException] = {}
        tree_options = {key: options.pop(key) for key in ("backoff", "clock", "intensity") if key in options}

        def make(context: Any) -> Counter:
            return kind(self.hooks, self.plans, context.generation)

        self.tree: Supervisor = make_tree(ChildSpec("counter", make, **options), **tree_options)
        self.ref: ChildRef = self.tree.directory.ref("counter")

    def life(self) -> int:
        life: int = self.ref.ask(lambda actor: actor.life, timeout=30)
        return life


@pytest.fixture
def kept(make_tree: MakeTree) -> Kept:
    return Kept(make_tree)


def tell(ref: ChildRef, error: BaseException) -> None:
    ref.tell(error)


def ask(ref: ChildRef, error: BaseException) -> None:
    """The asker hears of it, too, but never of what would end it."""
    with pytest.raises(type(error) if isinstance(error, Exception) else ActorGoneError):
        ref.ask(error, timeout=30)


def tell_its_own_ref(ref: ChildRef, error: BaseException) -> None:
    ref.ask(lambda actor: actor.actor_ref, timeout=30).tell(error)


def ask_its_own_ref(ref: ChildRef, error: BaseException) -> None:
    own = ref.ask(lambda actor: actor.actor_ref, timeout=30)
    with pytest.raises(type(error) if isinstance(error, Exception) else ActorGoneError):
        own.ask(error, timeout=30)


@pytest.mark.parametrize("error", [ValueError("crash"), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("how", [tell, ask, tell_its_own_ref, ask_its_own_ref])
def test_a_crash_at_a_message_is_noticed_and_repaired(
    how: Callable[[ChildRef, BaseException], None], error: BaseException, kept: Kept, script: Script
) -> None:
    how(kept.ref, error)
    assert kept.life() == 2
    assert script.count(EventKind.CRASHED) == 1
    assert kept.hooks == ["constructor 1", "on_start 1", "on_failure 1", "constructor 2", "on_start 2"]


@pytest.mark.parametrize("error", [OSError("crash"), SystemExit()], ids=repr)
@pytest.mark.parametrize("hook", ["constructor", "on_start"])
def test_a_crash_at_the_start_counts_as_a_failed_restart(
    hook: str, error: BaseException, kept: Kept, script: Script
) -> None:
    kept.plans[hook, 2] = error
    kept.ref.tell(RuntimeError())
    assert kept.life() == 3
    assert script.count(EventKind.CRASHED) == 2
    assert ("on_failure 2" in kept.hooks) is (hook == "on_start")


@pytest.mark.parametrize("error", [OSError("crash"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("hook", ["on_stop", "on_failure"])
def test_a_crash_at_the_end_is_told(hook: str, error: BaseException, kept: Kept, script: Script) -> None:
    kept.plans[hook, 1] = error
    if hook == "on_stop":
        kept.ref.stop()
    else:
        kept.ref.tell(RuntimeError("first"))
    assert kept.life() == 2
    (event,) = [event for event in script.events if event.kind is EventKind.CRASHED]
    assert event.error.startswith(type(error).__name__ if hook == "on_stop" else "RuntimeError: first")


def test_a_class_may_say_which_errors_are_answers(make_tree: MakeTree, script: Script) -> None:
    class Tolerant(Counter):
        expected = (ValueError,)

    kept = Kept(make_tree, Tolerant)
    with pytest.raises(ValueError, match="as told"):
        kept.ref.proxy().fail().get(timeout=30)
    assert kept.life() == 1
    kept.ref.tell(ValueError())  # which nobody asked for
    assert kept.life() == 2
    assert script.count(EventKind.CRASHED) == 1


def test_a_ref_and_a_proxy_survive_restarts(kept: Kept) -> None:
    proxy = kept.ref.proxy()
    assert proxy.add(2).get(timeout=30) == 2
    assert proxy.count.get(timeout=30) == 2
    proxy.count = 5
    assert kept.ref.ask(1, timeout=30) == 6
    proxy.add.defer(4)
    assert proxy.shelf.add(2).get(timeout=30) == 5
    assert proxy.add().map(lambda count: 2 * count).get(timeout=30) == 22
    kept.ref.tell(RuntimeError())
    assert proxy.add(3).get(timeout=30) == 3, "a new life counts anew"
    assert proxy.shelf.books.get(timeout=30) == 3
    assert proxy.life.get(timeout=30) == 2
    assert proxy.only_later.get(timeout=30) == "new"
    assert pykka.get_all([proxy.add(), kept.ref.ask(1, block=False)], timeout=30) == [4, 5]
    with pytest.raises(AttributeError):
        _ = proxy.nothing
    assert proxy == kept.tree.directory.ref("counter").proxy()
    assert len({proxy, kept.ref.proxy()}) == 1
    assert kept.life() == 2


def test_a_proxy_keeps_no_life_that_is_over(make_tree: MakeTree) -> None:
    kept = Kept(make_tree)
    proxy = kept.ref.proxy()
    first = kept.ref.ask(lambda actor: actor.actor_ref, timeout=30)
    kept.ref.tell(RuntimeError())
    assert proxy.life.get(timeout=30) == 2
    assert not first.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        first.ask(1, timeout=30)


def test_what_is_said_while_it_is_down_is_kept_in_order(make_tree: MakeTree, clock: Any, script: Script) -> None:
    kept = Kept(make_tree, backoff=Backoff(initial=9.0, maximum=9.0, jitter=0.0, quiet=0.0), clock=clock, intensity=2)
    proxy = kept.ref.proxy()
    kept.ref.tell(RuntimeError())
    script.await_count(EventKind.RESTARTING, 1)
    assert kept.ref.is_alive()
    kept.ref.tell(1)
    future = proxy.add(10)
    with pytest.raises(AskTimeoutError):
        kept.ref.ask(100, timeout=0.01)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0.01)
    clock.advance(9.0)
    assert future.get(timeout=30) == 11
    assert kept.ref.ask(0, timeout=30) == 11, "what nobody waits for any more is void"


def test_what_is_behind_a_crash_goes_to_the_next_life(kept: Kept) -> None:
    entered, go = threading.Event(), threading.Event()

    def wait_and_fail(_actor: Counter) -> None:
        entered.set()
        go.wait(30)
        raise RuntimeError

    kept.ref.tell(wait_and_fail)
    assert entered.wait(30)
    for number in range(3):
        kept.ref.tell(number)
    go.set()
    assert kept.ref.ask(0, timeout=30) == 3
    assert kept.life() == 2


def test_its_own_ref_is_to_one_life(kept: Kept) -> None:
    """As pykka says: who holds it learns that the actor has stopped."""
    go = threading.Event()
    own = kept.ref.ask(lambda actor: actor.actor_ref, timeout=30)
    kept.ref.tell(lambda _actor: go.wait(30))
    kept.ref.tell(RuntimeError())
    answer = own.ask(1, block=False)
    go.set()
    with pytest.raises(pykka.ActorDeadError):
        answer.get(timeout=30)
    assert kept.ref.ask(0, timeout=30) == 0


@pytest.mark.parametrize(("restart", "again"), [(Restart.PERMANENT, True), (Restart.TRANSIENT, False)])
def test_stop_ends_a_life_well(restart: Restart, again: bool, make_tree: MakeTree, script: Script) -> None:  # noqa: FBT001
    kept = Kept(make_tree, restart=restart)
    assert kept.ref.stop(timeout=30) is True
    assert kept.hooks[:3] == ["constructor 1", "on_start 1", "on_stop 1"]
    if again:
        assert kept.life() == 2
        return
    eventually(lambda: not kept.ref.is_alive())
    assert script.kinds("counter") == [EventKind.STARTED, EventKind.ENDED]
    with pytest.raises(pykka.ActorDeadError):
        kept.ref.tell(1)
    with pytest.raises(ActorGoneError):
        kept.ref.ask(1, timeout=30)
    with pytest.raises(pykka.ActorDeadError):
        kept.ref.ask(1, block=False).get(timeout=30)
    with pytest.raises(pykka.ActorDeadError):
        kept.ref.proxy()
    assert kept.ref.stop(timeout=30) is False


def test_a_registry_that_stops_all_ends_lives_well(kept: Kept, script: Script) -> None:
    pykka.ActorRegistry.stop_all()
    assert kept.life() == 2
    assert script.count(EventKind.CRASHED) == 0


def test_one_that_is_stuck_is_replaced_and_its_asker_told(make_tree: MakeTree, script: Script) -> None:
    kept = Kept(make_tree, health=0.3)
    stuck = kept.ref.ask(script.hang, block=False)
    own = kept.ref.proxy  # the next life's, once there is one
    with pytest.raises(ActorGoneError, match="abandoned"):
        stuck.get(timeout=30)
    assert own().life.get(timeout=30) == 2
    script.release.set()
    eventually(lambda: kept.tree._ghosts.existing() == (), "the ghost ends")
    assert "on_failure 1" not in kept.hooks or kept.hooks.index("on_failure 1") > 0


def test_what_its_constructor_tells_itself_arrives(make_tree: MakeTree) -> None:
    class Eager(Counter):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self._inbox_of_the_constructor = self.actor_inbox
            self.actor_ref.tell(5)

        def on_start(self) -> None:
            self._inbox_of_the_constructor.put(pykka._envelope.Envelope(7))

    assert Kept(make_tree, Eager).ref.ask(0, timeout=30) == 12


def test_there_is_a_ref_to_children_only(kept: Kept) -> None:
    with pytest.raises(UnknownActorError, match="no actor has the id nobody"):
        kept.tree.directory.ref("nobody")
    assert str(kept.ref) == "counter"
    assert kept.ref == kept.tree.directory.ref("counter")
    assert hash(kept.ref) == hash(kept.tree.directory.ref("counter"))
