from __future__ import annotations

import os
import shutil
import tempfile
import threading
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nssh.bus.intake import Intake
from nssh.bus.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path


class KilledError(Exception):
    """The process died at this point."""


class MortalLedger(Ledger):
    """A ledger whose process can die in between: after an id was recorded, before the cursor is."""

    dies_at_cursor = False

    def set_cursor(self, message_id: str) -> None:
        if self.dies_at_cursor:
            raise KilledError
        super().set_cursor(message_id)


class Bus(RuleBasedStateMachine):
    """A topic, the feed of one session after the other, and those who act, in any order.

    What the feed does with its memory is what `nssh.bus.feed` does: what was seen is passed over, the rest is handed
    over and then claimed, and a poll moves the cursor to its last message.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="nssh-", dir="/tmp")
        self.path = os.path.join(self.directory, "ledger")
        self.topic: list[str] = []
        self.at_work: list[str] = []
        self.acted: list[str] = []
        self.start()

    def start(self) -> None:
        """A bridge starts, or takes over: it knows what is on disk."""
        self.at_work.clear()
        self.ledger = MortalLedger(self.path)
        self.intake = Intake(self.ledger)

    def teardown(self) -> None:
        """In the end everything has been acted on, once, by whoever is alive then."""
        self.poll(None)
        for message_id in list(self.at_work):
            self.act(message_id)
        assert sorted(self.acted) == sorted(self.topic)
        if self.topic:
            assert self.on_disk() == self.topic[-1]
        self.ledger.close()
        shutil.rmtree(self.directory)

    def on_disk(self) -> str | None:
        """The cursor that another process would find."""
        if os.path.exists(self.path):
            shutil.copyfile(self.path, f"{self.path}.copy")
        other = Ledger(f"{self.path}.copy")
        try:
            return other.cursor
        finally:
            other.close()

    def hand_over(self, messages: list[str], quick: st.DataObject | None) -> None:
        fresh = [message_id for message_id in dict.fromkeys(messages) if not self.intake.seen(message_id)]
        for message_id in fresh:
            assert message_id not in self.acted, "handed over although it was done"
            assert message_id not in self.at_work, "handed over although somebody is at it"
            self.intake.begin(message_id)
            self.at_work.append(message_id)
        # Those who act run beside the feed: some may be done before it goes on.
        for message_id in quick.draw(st.lists(st.sampled_from(fresh), unique=True)) if quick and fresh else []:
            self.act(message_id)
        for message_id in fresh:
            self.intake.claim(message_id)

    def act(self, message_id: str) -> None:
        self.at_work.remove(message_id)
        self.acted.append(message_id)
        self.intake.done(message_id)

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        self.topic += [f"m{len(self.topic) + number}" for number in range(count)]

    @precondition(lambda self: self.topic)
    @rule(data=st.data())
    def arrive_live(self, data: st.DataObject) -> None:
        """Live messages come in any order, some of them never, and some of them again."""
        self.hand_over(data.draw(st.lists(st.sampled_from(self.topic), max_size=4)), data)

    @rule(data=st.data())
    def poll(self, data: st.DataObject | None) -> None:
        cursor = self.intake.cursor
        backlog = self.topic[self.topic.index(cursor) + 1 :] if cursor else list(self.topic)
        self.hand_over(backlog, data)
        if backlog:
            self.intake.set_cursor(backlog[-1])

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def act_on_one(self, data: st.DataObject) -> None:
        self.act(data.draw(st.sampled_from(self.at_work)))

    @rule()
    def be_killed(self) -> None:
        self.start()

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def be_killed_while_the_cursor_moves(self, data: st.DataObject) -> None:
        self.ledger.dies_at_cursor = True
        try:
            self.act(data.draw(st.sampled_from(self.at_work)))
        except KilledError:
            self.start()
        else:
            self.ledger.dies_at_cursor = False

    @invariant()
    def the_cursor_on_disk_passes_nothing_that_is_not_done(self) -> None:
        cursor = self.on_disk()
        passed = self.topic[: self.topic.index(cursor) + 1] if cursor else []
        assert set(passed) <= set(self.acted)

    @invariant()
    def what_is_at_work_or_done_is_not_handed_over_again(self) -> None:
        assert all(self.intake.seen(message_id) for message_id in self.at_work + self.acted)


TestBus = Bus.TestCase
TestBus.settings = settings(max_examples=100, stateful_step_count=30)


def test_the_cursor_of_this_process_runs_ahead_of_the_one_on_disk(tmp_path: Path) -> None:
    ledger = Ledger(os.fspath(tmp_path / "ledger"))
    intake = Intake(ledger)
    intake.begin("a")
    intake.set_cursor("a")
    intake.begin("b")
    intake.set_cursor("b")
    assert (intake.cursor, ledger.cursor) == ("b", None)
    intake.done("b")
    assert (intake.cursor, ledger.cursor) == ("b", None)
    intake.done("a")
    assert (intake.cursor, ledger.cursor) == ("b", "b")


def test_threads_that_act_beside_the_feed_leave_the_cursor_at_the_end(tmp_path: Path) -> None:
    ledger = Ledger(os.fspath(tmp_path / "ledger"))
    intake = Intake(ledger)
    ids = [f"m{number}" for number in range(2000)]
    handed = [threading.Event() for _ in ids]

    def act(start: int) -> None:
        for number in range(start, len(ids), 3):
            handed[number].wait(60)
            intake.done(ids[number])

    actors = [threading.Thread(target=act, args=(start,)) for start in range(3)]
    for actor in actors:
        actor.start()
    for number, message_id in enumerate(ids):
        assert not intake.seen(message_id)
        intake.begin(message_id)
        handed[number].set()
        intake.claim(message_id)
        intake.set_cursor(message_id)
    for actor in actors:
        actor.join()
    assert ledger.cursor == ids[-1]
