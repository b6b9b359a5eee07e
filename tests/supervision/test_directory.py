"""Messages by id: to the running, the restarting, the gone; in order, at most once, within bounds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors.supervision import ActorGoneError, AskTimeoutError, Backoff, EventKind, Restart, UnknownActorError
from tests.supervision.support import Do, Probe, Script, Tell, Which, crash, eventually, raising, serves

if TYPE_CHECKING:
    from actors.supervision._incarnation import Incarnation
    from tests.supervision.conftest import MakeTree

SLOW = Backoff(initial=10.0, maximum=10.0, jitter=0.0)  # on a clock that only the test moves


def test_peers_talk_by_id(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a", "b")
    assert tree.directory.ask("a", Do(lambda probe: probe.send("b", Tell("hello"))), 30) is True
    assert tree.directory.ask("a", Do(lambda probe: probe.ask("b", Which(), 30)), 30) == 1
    assert script.told["b"] == ["hello"]


def test_an_actor_that_sends_to_nobody_crashes(make_tree: MakeTree) -> None:
    tree = make_tree("a")
    with pytest.raises(UnknownActorError, match="no actor has the id nobody"):
        tree.directory.send("nobody", "x")
    tree.directory.send("a", Do(lambda probe: probe.send("nobody", "x")))
    serves(tree, "a", 2)


def test_an_actor_does_not_wait_for_itself(make_tree: MakeTree) -> None:
    tree = make_tree("a")
    with pytest.raises(RuntimeError, match="a would wait for itself"):
        tree.directory.ask("a", Do(lambda probe: probe.ask("a", Which(), 30)), 30)


def test_messages_across_a_crash_arrive_in_order_and_the_fatal_one_is_not_repeated(
    make_tree: MakeTree, script: Script, clock: Any
) -> None:
    tree = make_tree("a", clock=clock, backoff=SLOW, intensity=2)
    go = threading.Event()
    tree.directory.send("a", Do(lambda _probe: go.wait(30)))
    tree.directory.send("a", Tell("1"))
    crash(tree, "a")
    for text in "23":
        tree.directory.send("a", Tell(text))  # in the mailbox of the first life when it crashes
    go.set()
    script.await_count(EventKind.RESTARTING, 1)
    for text in "45":
        assert tree.directory.send("a", Tell(text))  # while it is down
    assert script.told["a"] == ["1"]
    clock.advance(10.0)
    serves(tree, "a", 2)
    assert script.told["a"] == ["1", "2", "3", "4", "5"]
    assert script.count(EventKind.CRASHED) == 1


def test_what_was_in_the_mailbox_comes_before_what_is_sent_while_its_owner_leaves(
    make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree("a")
    detach = tree.directory.detach

    def late(life: Incarnation, first: Any = None) -> list[Any]:
        tree.directory.detach = detach  # type: ignore[method-assign]
        tree.directory.send("a", Tell("3"))  # it takes no more messages, and those it had are still there
        return detach(life, first)

    def fill_and_crash(probe: Probe) -> None:
        for text in "12":
            probe.send("a", Tell(text))
        tree.directory.detach = late  # type: ignore[method-assign]
        raise RuntimeError

    tree.directory.send("a", Do(fill_and_crash))
    serves(tree, "a", 2)
    assert script.told["a"] == ["1", "2", "3"]


def test_an_ask_is_answered_by_the_successor(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    crash(tree, "a")
    assert tree.directory.ask("a", Which(), 30) == 2


def test_an_ask_times_out_and_its_message_is_void(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree("a")
    tree.directory.send("a", Do(script.hang))
    with pytest.raises(AskTimeoutError, match=r"no answer within 0\.05 s"):
        tree.directory.ask("a", Tell("nobody waits for this"), 0.05)
    assert isinstance(AskTimeoutError(), TimeoutError)
    script.release.set()
    serves(tree, "a")
    assert script.told["a"] == []


@pytest.mark.parametrize("state", ["running", "restarting"])
def test_a_full_mailbox_refuses_and_reports(state: str, make_tree: MakeTree, script: Script, clock: Any) -> None:
    tree = make_tree(script.spec("a", mailbox=3), clock=clock, backoff=SLOW, intensity=2)
    if state == "restarting":
        crash(tree, "a")
        script.await_count(EventKind.RESTARTING, 1)
    else:
        entered = threading.Event()

        def enter_and_hang(_probe: Probe) -> None:
            entered.set()
            script.hang()

        tree.directory.send("a", Do(enter_and_hang))
        assert entered.wait(30)
    assert [tree.directory.send("a", Tell(text)) for text in "1234"] == [True, True, True, False]
    with pytest.raises(ActorGoneError, match="a takes no messages"):
        tree.directory.ask("a", Which(), 30)
    assert [event.error for event in script.events if event.kind is EventKind.DROPPED] == [
        "Tell: its mailbox is full",
        "Which: its mailbox is full",
    ]
    script.release.set()
    clock.advance(10.0)
    eventually(lambda: script.told["a"] == ["1", "2", "3"])


def test_a_child_that_ended_for_good_takes_no_messages_and_reports_what_it_left(
    make_tree: MakeTree, script: Script
) -> None:
    tree = make_tree(script.spec("a", Restart.TEMPORARY))
    tree.directory.send("a", Do(lambda _probe: script.release.wait(30)))
    crash(tree, "a")
    tree.directory.send("a", Tell("never handled"))
    errors: list[Exception] = []

    def ask() -> None:
        try:
            tree.directory.ask("a", Which(), 30)
        except ActorGoneError as error:
            errors.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    incarnation = tree._children["a"].incarnation
    assert incarnation is not None
    inbox = incarnation.inbox
    assert inbox is not None
    eventually(lambda: inbox.qsize() == 3)
    script.release.set()
    asker.join(30)
    assert [str(error) for error in errors] == ["a: it has ended"]
    eventually(lambda: script.count(EventKind.DROPPED, "a") == 2)
    assert tree.directory.send("a", Tell("late")) is False
    assert script.told["a"] == []


def test_messages_sent_during_a_start_wait_for_its_end(make_tree: MakeTree, script: Script) -> None:
    def send_to_itself(probe: Probe) -> None:
        assert probe.send(probe.context.id, Tell("by id"))
        assert probe.post(Tell("to itself"))

    script.acts["a", "started", 1] = send_to_itself
    tree = make_tree("a")
    serves(tree, "a")
    assert sorted(script.told["a"]) == ["by id", "to itself"]


def test_a_stopping_actor_may_still_tell_those_that_started_before_it(make_tree: MakeTree, script: Script) -> None:
    sent: list[bool] = []
    script.acts["b", "stopped", 1] = lambda probe: sent.extend(
        [probe.send("a", Tell("bye")), probe.send("c", Tell("too late"))]
    )
    tree = make_tree("a", "b", "c")
    tree.stop()
    assert sent == [True, False]
    assert script.told["a"] == ["bye"]  # what is in the mailbox is handled before a stop


def test_many_senders_lose_and_repeat_nothing_across_crashes(make_tree: MakeTree, script: Script) -> None:
    tree = make_tree(script.spec("a", mailbox=100_000), intensity=1000, period=1e6, backoff=Backoff(initial=0.0))
    senders, each = 4, 200

    def send(sender: int) -> None:
        for number in range(each):
            assert tree.directory.send("a", Tell(f"{sender}:{number}"))
            if number % 20 == 0:
                tree.directory.send("a", Do(raising(RuntimeError())))

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(script.told["a"]) >= senders * each)
    assert tree.directory.ask("a", Which(), 30) == 1 + senders * each // 20
    for sender in range(senders):
        mine = [text for text in script.told["a"] if text.startswith(f"{sender}:")]
        assert mine == [f"{sender}:{number}" for number in range(each)]
