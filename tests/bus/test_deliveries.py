"""Each message takes effect once, whatever dies at whichever moment; tables, and a state machine with a model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nssh.bus.deliveries import ATTEMPTS, FETCHES, CursorMoved, Deliveries, Delivery, FeedMemory
from nssh.bus.ledger import Ledger
from nssh.bus.losses import Reach
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PING = wire.Envelope(wire.KIND_PING)


def delivery(message_id: str, to: str = "worker", key: str = "", attempt: int = 1) -> Delivery:
    return Delivery(message_id, to, key or message_id, PING, attempt=attempt)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(os.fspath(tmp_path / "ledger"))
    yield ledger
    ledger.close()


@pytest.fixture
def deliveries(ledger: Ledger) -> Deliveries:
    return Deliveries(ledger)


def bring(deliveries: Deliveries, *brought: Delivery) -> list[Delivery]:
    """Let messages arrive in a row; return what is handed out then."""
    for one in brought:
        assert deliveries.arrive(one.id)
        assert deliveries.recognize(one)
        assert deliveries.queue(one)
    return deliveries.due()


def finish(deliveries: Deliveries, ledger: Ledger, *done: Delivery) -> list[Delivery]:
    """Do what a worker does, and the subscriber behind it."""
    for one in done:
        ledger.claim(one.key, one.id)
        deliveries.done(one.id)
    return deliveries.due()


# --- What is handed out -----------------------------------------------------------------------------------------------


def test_a_worker_is_handed_one_after_another_in_the_order_of_the_bus(deliveries: Deliveries, ledger: Ledger) -> None:
    a, b, c = (delivery(name) for name in "abc")
    assert bring(deliveries, a, b, c) == [a]
    assert deliveries.due() == []
    assert finish(deliveries, ledger, a) == [b]
    assert finish(deliveries, ledger, a) == [], "the answer to a copy"
    assert finish(deliveries, ledger, b) == [c]
    assert deliveries.pending
    assert finish(deliveries, ledger, c) == []
    assert not deliveries.pending


def test_workers_do_not_wait_for_each_other(deliveries: Deliveries, ledger: Ledger) -> None:
    a, b, c = delivery("a", "x"), delivery("b", "x"), delivery("c", "y")
    assert bring(deliveries, a, b, c) == [a, c]
    assert finish(deliveries, ledger, c) == []
    assert finish(deliveries, ledger, a) == [b]


def test_what_a_worker_crashed_on_is_handed_out_once_more_and_then_let_go(
    deliveries: Deliveries, ledger: Ledger
) -> None:
    a, b = delivery("a", key="open:1"), delivery("b")
    bring(deliveries, a, b)
    assert deliveries.restarted("worker") is None
    again = a._replace(attempt=2)
    assert deliveries.due() == [again]
    assert deliveries.restarted("worker") == again
    assert deliveries.due() == [b], "it crashed nobody"
    assert ledger.seen("a")
    assert ledger.seen("open:1")
    assert finish(deliveries, ledger, b) == []
    assert not deliveries.pending


def test_a_worker_that_had_nothing_gets_nothing_by_its_restart(deliveries: Deliveries) -> None:
    assert deliveries.restarted("worker") is None
    assert deliveries.due() == []


def test_the_last_attempt_is_known_to_a_process_after_this_one(deliveries: Deliveries, ledger: Ledger) -> None:
    bring(deliveries, delivery("a"))
    assert Deliveries(ledger).queue(delivery("a")), "the first was not the last"
    deliveries.restarted("worker")
    deliveries.due()
    after = Deliveries(ledger)
    after.arrive("a")
    assert after.recognize(delivery("a"))
    assert not after.queue(delivery("a"))
    assert not after.pending
    assert ledger.seen("a")


def test_what_was_postponed_comes_first_after_a_restart_in_order(deliveries: Deliveries, ledger: Ledger) -> None:
    a, b, c, d = (delivery(name) for name in "abcd")
    bring(deliveries, a, b, c, d)
    deliveries.postpone("a")
    assert deliveries.due() == [b]
    deliveries.postpone("x")
    deliveries.postpone("d")
    assert deliveries.due() == [], "neither is in the worker's hand"
    deliveries.postpone("b")
    assert deliveries.due() == [c]
    assert deliveries.restarted("worker") is None
    assert deliveries.due() == [a]
    assert finish(deliveries, ledger, a) == [b]
    assert finish(deliveries, ledger, b) == [c._replace(attempt=2)]
    assert finish(deliveries, ledger, c) == [d]


def test_what_was_postponed_can_be_done_while_another_is_in_hand(deliveries: Deliveries, ledger: Ledger) -> None:
    a, b, c = (delivery(name) for name in "abc")
    bring(deliveries, a, b, c)
    deliveries.postpone("a")
    deliveries.due()
    assert finish(deliveries, ledger, a) == []
    assert finish(deliveries, ledger, b) == [c]
    assert deliveries.restarted("worker") is None
    assert deliveries.due() == [c._replace(attempt=2)], "a is not handed out again"


def test_what_is_done_while_it_waits_is_not_handed_out(deliveries: Deliveries, ledger: Ledger) -> None:
    """The worker was at it since before the subscriber was restarted."""
    a, b, c = (delivery(name) for name in "abc")
    bring(deliveries, a, b, c)
    assert finish(deliveries, ledger, b) == []
    assert finish(deliveries, ledger, a) == [c]


# --- What is a repetition ---------------------------------------------------------------------------------------------


def test_what_is_in_flight_does_not_arrive_again(deliveries: Deliveries) -> None:
    assert deliveries.arrive("a")
    assert not deliveries.arrive("a")


@pytest.mark.parametrize("when", ["in flight", "done", "let go"])
def test_a_repetition_under_the_same_key_is_done_with_at_once(
    deliveries: Deliveries, ledger: Ledger, when: str
) -> None:
    first, second = delivery("a", key="open:1"), delivery("b", key="open:1")
    bring(deliveries, first)
    if when == "done":
        finish(deliveries, ledger, first)
    elif when == "let go":
        deliveries.discard("a")
    deliveries.arrive("b")
    assert not deliveries.recognize(second)
    assert ledger.seen("b")
    assert deliveries.pending is (when == "in flight")
    # The one that is under way goes on to keep others off.
    deliveries.arrive("c")
    assert not deliveries.recognize(second._replace(id="c"))


def test_a_text_that_can_not_be_fetched_is_tried_a_few_times_also_by_feeds_to_come(deliveries: Deliveries) -> None:
    tried = []
    for _ in range(FETCHES):
        deliveries.arrive("a")
        tried.append(deliveries.fetch_failed("a"))
        deliveries.reset()
    assert tried == [True] * (FETCHES - 1) + [False]
    deliveries.arrive("a")
    deliveries.discard("a")
    assert deliveries.fetch_failed("a"), "counted anew"


# --- The cursor -------------------------------------------------------------------------------------------------------


def test_the_cursor_on_disk_waits_for_what_was_in_flight_when_it_was_set(
    deliveries: Deliveries, ledger: Ledger
) -> None:
    a, b, c = (delivery(name) for name in "abc")
    bring(deliveries, a)
    deliveries.moved("a")
    bring(deliveries, b)
    deliveries.moved("b")
    bring(deliveries, c)
    finish(deliveries, ledger, b)
    before = ledger.cursor
    finish(deliveries, ledger, a)
    assert before is None
    assert (ledger.anchor, ledger.cursor) == ("a", "b"), "c came after it"


def test_how_far_a_topic_was_followed_is_on_disk_once_nothing_is_in_flight(
    deliveries: Deliveries, ledger: Ledger
) -> None:
    bring(deliveries, delivery("a"))
    deliveries.reached(Reach(7))
    assert ledger.reach == Reach()
    finish(deliveries, ledger, delivery("a"))
    assert ledger.reach == Reach(7)
    deliveries.reached(Reach(8))
    assert ledger.reach == Reach(8)


def test_after_a_reset_nothing_of_before_moves_the_cursor(deliveries: Deliveries, ledger: Ledger) -> None:
    bring(deliveries, delivery("a"))
    deliveries.moved("a")
    deliveries.reached(Reach(7))
    deliveries.reset()
    deliveries.done("a")
    assert (ledger.cursor, ledger.reach, deliveries.pending) == (None, Reach(), False)


def test_the_cursor_of_a_feed_runs_ahead_of_the_one_on_disk(ledger: Ledger) -> None:
    ledger.set_cursor("y")
    ledger.set_cursor("z")
    ledger.claim("done")
    told: list[CursorMoved | Reach] = []
    memory = FeedMemory(ledger, told.append)
    assert (memory.anchor, memory.cursor, memory.reach) == ("y", "z", Reach())
    for cursor in ("a", "a", "b"):
        memory.set_cursor(cursor)
    memory.set_reach(Reach(7))
    assert (memory.anchor, memory.cursor, memory.reach) == ("a", "b", Reach(7))
    assert (ledger.anchor, ledger.cursor, ledger.reach) == ("y", "z", Reach())
    assert told == [CursorMoved("a"), CursorMoved("a"), CursorMoved("b"), Reach(7)]
    memory.claim("handed over")
    assert [memory.seen(one) for one in ("handed over", "done", "fresh")] == [True, True, False]
    assert not ledger.seen("handed over")


# --- Whatever dies, whenever ------------------------------------------------------------------------------------------


class KilledError(Exception):
    """The process died at this point."""


class MortalLedger(Ledger):
    """A ledger whose process can die right before one of its next records is written."""

    left = -1

    def _append(self, kind: str, *values: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KilledError
        super()._append(kind, *values)


class Published(NamedTuple):
    id: str
    key: str
    to: str


class Worker:
    """A worker of the model, which does what `actors.worker` and those above it do."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mailbox: deque[Delivery] = deque()
        self.postponed: Delivery | None = None


class Bus(RuleBasedStateMachine):
    """A topic, sessions one after the other, and all that can happen to them.

    What the feed does with its memory is what `nssh.bus.feed` does. Its messages travel through the mailbox of the
    subscriber, as do those of the workers; each is taken out at any later time. `careful` claims before it acts, and so
    may lose what it was killed at; `eager` acts before it claims, and so may act once more on what it was killed at.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="nssh-", dir="/tmp")
        self.path = os.path.join(self.directory, "ledger")
        self.topic: list[Published] = []
        self.acted: dict[str, int] = {}  # by key
        self.order: dict[str, list[str]] = {"careful": [], "eager": []}  # first effects, by message
        self.excused: set[str] = set()  # keys that somebody was at when he died
        self.let_go: set[str] = set()
        self.crashed: set[str] = set()  # of these, what its worker crashed on
        self.in_order = True
        self.begin_process()

    # --- Lives --------------------------------------------------------------------------------------------------------

    def begin_process(self) -> None:
        """A bridge starts, or takes over: it knows what is on disk."""
        self.ledger = MortalLedger(self.path)
        self.workers = {name: Worker(name) for name in self.order}
        self.begin_subscriber()

    def begin_subscriber(self) -> None:
        """A subscriber starts; its workers stay as they are."""
        self.deliveries = Deliveries(self.ledger)
        self.begin_feed()

    def begin_feed(self) -> None:
        self.deliveries.reset()
        self.arrived: deque[list[Published] | CursorMoved | Reach] = deque()  # of this feed
        self.reports: deque[tuple[str, str]] = deque()  # of the workers
        self.memory = FeedMemory(self.ledger, self.arrived.append)

    @rule()
    def kill_the_process(self) -> None:
        for worker in self.workers.values():
            self._excuse(worker)
        self.ledger.close()
        self.begin_process()

    @rule()
    def kill_the_subscriber(self) -> None:
        self.begin_subscriber()

    @rule()
    def lose_the_lease_and_get_it_again(self) -> None:
        self.deliveries.reset()
        self.ledger.close()
        self.begin_feed()

    @rule()
    def begin_a_new_feed(self) -> None:
        self.begin_feed()

    @rule(name=st.sampled_from(["careful", "eager"]), when=st.sampled_from(["else", "begun", "acted"]))
    def kill_a_worker(self, name: str, when: str) -> None:
        """It dies of something else, or of the delivery it is at; what it has not begun goes to its next life."""
        worker = self.workers[name]
        if worker.mailbox and when != "else":
            self._excuse(worker)
            one = worker.mailbox.popleft()
            if when == "acted" and (self.ledger.claim(one.key) if name == "careful" else not self.ledger.seen(one.key)):
                self._effect(one)
        worker.postponed = None
        self._drain_reports()
        failed = self.deliveries.restarted(name)
        if failed is not None:
            assert failed.attempt == ATTEMPTS
            self.let_go.add(failed.key)
            self.crashed.add(failed.key)
        self._hand_out()

    def _excuse(self, worker: Worker) -> None:
        if worker.mailbox:
            self.excused.add(worker.mailbox[0].key)

    # --- The bus and its feed -----------------------------------------------------------------------------------------

    @rule(to=st.sampled_from(["careful", "eager"]), repeats=st.booleans(), data=st.data())
    def publish(self, to: str, *, repeats: bool, data: st.DataObject) -> None:
        key = f"k{len(self.topic)}"
        if repeats and self.topic:
            key, to = data.draw(st.sampled_from([(one.key, one.to) for one in self.topic]))
        self.topic.append(Published(f"m{len(self.topic)}", key, to))

    def _hand_over(self, messages: list[Published]) -> None:
        fresh = list({one.id: one for one in messages if not self.memory.seen(one.id)}.values())
        if fresh:
            self.arrived.append(fresh)
            for one in fresh:
                self.memory.claim(one.id)

    @precondition(lambda self: self.topic)
    @rule(data=st.data())
    def arrive_live(self, data: st.DataObject) -> None:
        """Live messages come in any order, some of them never, and some of them again."""
        self.in_order = False
        self._hand_over(data.draw(st.lists(st.sampled_from(self.topic), max_size=4)))

    @rule(forgotten=st.booleans())
    def poll(self, *, forgotten: bool) -> None:
        """A server that does not know the cursor returns everything."""
        ids = [one.id for one in self.topic]
        cursor = self.memory.cursor
        backlog = self.topic[ids.index(cursor) + 1 :] if cursor and not forgotten else list(self.topic)
        self._hand_over(backlog)
        for one in backlog[-2:]:
            self.memory.set_cursor(one.id)
        self.memory.set_reach(Reach(len(self.topic)))

    # --- The subscriber -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.arrived)
    @rule()
    def take(self) -> None:
        news = self.arrived.popleft()
        if isinstance(news, CursorMoved):
            self.deliveries.moved(news.cursor)
        elif isinstance(news, Reach):
            self.deliveries.reached(news)
        else:
            self._take([Delivery(one.id, one.to, one.key, PING) for one in news])
        self._hand_out()

    def _take(self, batch: list[Delivery]) -> None:
        arrived = [one for one in batch if self.deliveries.arrive(one.id)]
        for one in [one for one in arrived if self.deliveries.recognize(one)]:
            if not self.deliveries.queue(one):
                self.let_go.add(one.key)  # a worker of a subscriber before this one may still be at its last attempt

    def _hand_out(self) -> None:
        for one in self.deliveries.due():
            self.workers[one.to].mailbox.append(one)

    @precondition(lambda self: self.reports)
    @rule()
    def hear_of_a_worker(self) -> None:
        what, message_id = self.reports.popleft()
        if what == "done":
            self.deliveries.done(message_id)
        else:
            self.deliveries.postpone(message_id)
        self._hand_out()

    def _drain_reports(self) -> None:
        while self.reports:
            self.hear_of_a_worker()

    # --- The workers --------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["careful", "eager"]))
    def act(self, name: str) -> None:
        worker = self.workers[name]
        if not worker.mailbox:
            return
        one = worker.mailbox[0]
        if name == "careful":
            if self.ledger.claim(one.key):
                self._effect(one)
        elif worker.postponed is not None and worker.postponed.id == one.id:
            worker.mailbox.popleft()  # a copy of what it is waiting for
            self.reports.append(("postponed", one.id))
            return
        elif not self.ledger.seen(one.key):
            self._effect(one)
        self._finish(one)
        worker.mailbox.popleft()  # until then it dies of this one

    def _effect(self, one: Delivery) -> None:
        assert one.key not in self.crashed, "acted on after it was let go"
        if one.key not in self.acted:
            self.order[one.to].append(one.id)
        self.acted[one.key] = self.acted.get(one.key, 0) + 1

    def _finish(self, one: Delivery) -> None:
        self.ledger.claim(one.key, one.id)
        self.reports.append(("done", one.id))

    @precondition(lambda self: self.workers["eager"].mailbox and self.workers["eager"].postponed is None)
    @rule()
    def postpone(self) -> None:
        worker = self.workers["eager"]
        if not self.ledger.seen(worker.mailbox[0].key):
            self.in_order = False
            worker.postponed = worker.mailbox.popleft()
            self.reports.append(("postponed", worker.postponed.id))

    @precondition(lambda self: self.workers["eager"].postponed is not None)
    @rule()
    def act_on_what_was_postponed(self) -> None:
        one, self.workers["eager"].postponed = self.workers["eager"].postponed, None
        assert one is not None
        self._effect(one)
        self._finish(one)

    # --- The end of the process at any record -------------------------------------------------------------------------

    @rule(records=st.integers(1, 3), name=st.sampled_from(["careful", "eager"]))
    def be_killed_between_two_records(self, records: int, name: str) -> None:
        self.ledger.left = records
        try:
            self.act(name)
            self._drain_reports()
            while self.arrived:
                self.take()
        except KilledError:
            self.kill_the_process()
        self.ledger.left = -1

    # --- What always holds --------------------------------------------------------------------------------------------

    def on_disk(self) -> tuple[str | None, set[str]]:
        """The cursor, and what of the topic is done, as another process would find them."""
        copy = f"{self.path}.copy"
        if os.path.exists(self.path):
            shutil.copyfile(self.path, copy)
        other = Ledger(copy)
        try:
            return other.cursor, {one.id for one in self.topic if other.seen(one.id)}
        finally:
            other.close()

    @invariant()
    def the_cursor_on_disk_passes_nothing_that_is_not_done(self) -> None:
        cursor, done = self.on_disk()
        ids = [one.id for one in self.topic]
        assert set(ids[: ids.index(cursor) + 1] if cursor else []) <= done

    @invariant()
    def nothing_takes_effect_twice_but_what_a_worker_was_at_when_it_died(self) -> None:
        twice = {key for key, count in self.acted.items() if count > 1}
        assert twice <= self.excused
        assert not twice & {one.key for one in self.topic if one.to == "careful"}

    def teardown(self) -> None:
        """Without further deaths everything takes effect, or was let go, and the cursor comes to the end."""
        self.begin_feed()
        self.poll(forgotten=False)
        while self.arrived or self.reports or any(one.mailbox or one.postponed for one in self.workers.values()):
            while self.arrived:
                self.take()
            if self.workers["eager"].postponed is not None:
                self.act_on_what_was_postponed()
            for name in self.workers:
                self.act(name)
            self._drain_reports()
        missing = {one.key for one in self.topic} - self.acted.keys()
        assert missing <= self.let_go | {
            one.key for one in self.topic if one.to == "careful" and one.key in self.excused
        }
        if self.in_order:
            ids = [one.id for one in self.topic]
            assert all(acted == sorted(acted, key=ids.index) for acted in self.order.values())
        cursor, done = self.on_disk()
        assert done == {one.id for one in self.topic}
        assert cursor == (self.topic[-1].id if self.topic else None)
        assert not self.deliveries.pending
        assert not self.deliveries._keys, "nothing is kept of what is done"
        self.ledger.close()
        shutil.rmtree(self.directory)


TestBus = Bus.TestCase
TestBus.settings = settings(stateful_step_count=30)
