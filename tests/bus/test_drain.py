"""Former topics, and the topic of another program, against real servers: what came is handed over once, or found."""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import BusError
from nssh.bus import drain as drains
from nssh.bus.client import BusClient
from nssh.bus.drain import Drain, Drained
from nssh.bus.feed import Feed
from nssh.bus.ledger import Ledger
from nssh.bus.takeover import begin_at_now
from nssh.state.former_topics import FormerTopic
from nssh.wire import envelope as wire
from tests.lab.ports import free_port
from tests.lab.waiting import until

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from nssh.bus.losses import Lost
    from nssh.bus.messages import Message
    from tests.bus.conftest import Door

    Threads = Callable[[Callable[[], object]], threading.Thread]

pytestmark = pytest.mark.real

NOW = int(time.time())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(os.fspath(tmp_path / "ledger"))


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drains, "GRACE", 0.6)


class Draining:
    """A drain of some topics, and all that it told."""

    def __init__(self, client: BusClient, ledger: Ledger, *topics: FormerTopic) -> None:
        self.delivered: list[tuple[str, str]] = []
        self.news: list[Drained | Lost] = []
        self.found: list[str] = []
        self._ledger = ledger
        self.drain = Drain(
            client, ledger, topics, deliver=self._deliver, notify=self.news.append,
            found=lambda messages: self.found.extend(one.text for one in messages),
        )  # fmt: skip

    def _deliver(self, topic: str, messages: list[Message]) -> None:
        self.delivered += [(topic, one.text) for one in messages]
        self._ledger.claim(*(one.id for one in messages))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.delivered if not text.startswith("{")]


def former(name: str, **fields: object) -> FormerTopic:
    return FormerTopic(name, NOW)._replace(**fields)  # type: ignore[arg-type]  # fields of FormerTopic


@pytest.mark.usefixtures("short_grace")
def test_all_that_comes_is_handed_over_once_until_the_file_names_another(
    door: Door, ledger: Ledger, threads: Threads
) -> None:
    client, publisher = door.client(), door.client()
    one, two = (f"t{secrets.token_hex(8)}" for _ in range(2))
    for number in range(3):
        publisher.publish(one, f"before {number}")
    ledger.claim(publisher.publish(two, "handled").id)
    draining = Draining(client, ledger, former(one), former(two))
    draining.drain.first()
    assert draining.delivered == [(one, f"before {number}") for number in range(3)]
    thread = threads(draining.drain.run)
    publisher.publish(two, "meanwhile")
    until(lambda: (two, "meanwhile") in draining.delivered)
    assert draining.news == []
    draining.drain.unnamed()
    publisher.publish(one, "just after")
    thread.join(30)
    assert not thread.is_alive()
    assert sorted(draining.texts) == ["before 0", "before 1", "before 2", "just after", "meanwhile"]
    assert {one.topic for one in draining.news if isinstance(one, Drained)} == {one, two}
    assert len(draining.news) == 2


@pytest.mark.usefixtures("short_grace")
def test_one_that_another_session_saw_unnamed_needs_one_look_only(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    client = door.client()
    client.publish(topic, "last")
    draining = Draining(client, ledger, former(topic, unnamed=NOW - 100), former(f"{topic}x", unnamed=NOW + 10**6))
    draining.drain.first()
    thread = threads(draining.drain.run)
    thread.join(30)  # a clock that was set back delays it by the grace at most
    assert not thread.is_alive()
    assert draining.texts == ["last"]
    assert len(draining.news) == 2


def test_stopped_before_and_while_it_runs(door: Door, topic: str, ledger: Ledger, threads: Threads) -> None:
    for begun in (False, True):
        draining = Draining(door.client(), ledger, former(topic))
        if begun:
            draining.drain.first()
        thread = threads(draining.drain.run)
        draining.drain.stop()
        thread.join(30)
        assert not thread.is_alive()
        assert draining.news == []


def test_what_was_accepted_by_now_is_handed_over_at_once(door: Door, topic: str, ledger: Ledger) -> None:
    draining = Draining(door.client(), ledger, former(topic))
    draining.drain.first()
    for number in range(5):
        door.client().publish(topic, str(number))
        draining.drain.catch_up()
        assert draining.texts == [str(one) for one in range(number + 1)]


@pytest.mark.usefixtures("short_grace")
def test_an_outage_is_waited_out(door: Door, topic: str, ledger: Ledger, threads: Threads) -> None:
    with door.link(timeout=5) as link:
        draining = Draining(link.client, ledger, former(topic))
        draining.drain.first()
        thread = threads(draining.drain.run)
        link.cut()
        door.client().publish(topic, "after the cut")
        until(lambda: draining.texts == ["after the cut"])
        draining.drain.unnamed()
        thread.join(30)
        assert not thread.is_alive()


def test_a_bus_that_is_not_there_is_told_and_asked_again(ledger: Ledger) -> None:
    draining = Draining(BusClient(f"http://127.0.0.1:{free_port()}"), ledger, former("t"))
    for _ in range(2):
        with pytest.raises(BusError):
            draining.drain.first()
    assert draining.delivered == []


def test_what_another_program_handled_is_found_and_not_handed_over(door: Door, topic: str, ledger: Ledger) -> None:
    client = door.client()
    handled = client.publish(topic, "ours, handled before")
    ledger.claim(handled.id)
    for number in range(3):
        client.publish(topic, f"theirs {number}")
    draining = Draining(client, ledger, former(topic, foreign="9 then"))
    draining.drain.first()
    assert draining.found == ["theirs 0", "theirs 1", "theirs 2"]
    assert draining.texts == []
    client.publish(topic, "after")
    again = Draining(client, ledger, former(topic, foreign="9 then"))  # the next bridge
    again.drain.first()
    assert (again.found, again.texts) == ([], ["after"])


def test_a_feed_begins_at_now_on_a_topic_that_another_program_used(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    client = door.client()
    for number in range(3):
        client.publish(topic, f"theirs {number}")
    found: list[str] = []
    delivered: list[str] = []

    def follow() -> tuple[Feed, threading.Thread]:
        def keep(new: list[Message]) -> None:
            found.extend(one.text for one in new)

        feed = Feed(
            client, topic, ledger, lambda batch, _: delivered.extend(one.text for one in batch), lambda _: None,
            prepare=lambda: begin_at_now(client, topic, ledger, "7 b", keep),
        )  # fmt: skip
        return feed, threads(feed.run)

    feed, thread = follow()
    until(lambda: ledger.seen("takeover 7 b"))
    door.client().publish(topic, "ours")
    until(lambda: delivered == ["ours"])
    feed.stop()
    thread.join(30)
    door.client().publish(topic, "while there was no bridge")
    feed, thread = follow()
    until(lambda: delivered == ["ours", "while there was no bridge"])
    assert found == ["theirs 0", "theirs 1", "theirs 2"]
    feed.stop()
    thread.join(30)


def test_a_moment_is_marked_by_a_message_that_nobody_acts_on(door: Door, topic: str, ledger: Ledger) -> None:
    client = door.client()
    found: list[Message] = []
    begin_at_now(client, topic, ledger, "m", found.extend)
    [message] = client.poll(topic, None)
    assert wire.decode(message.text).kind == wire.KIND_PONG
    begin_at_now(client, topic, ledger, "m", found.extend)
    assert len(client.poll(topic, None)) == 1
