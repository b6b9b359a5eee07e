"""The seam of a real ntfy: messages published while the subscriber reconnects at random, each handled once."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from nssh.bus.feed import Up
from nssh.bus.ledger import Ledger
from tests.bus.test_feed import Session
from tests.lab.waiting import until

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bus.conftest import Door

    Threads = Callable[[Callable[[], object]], threading.Thread]

COUNT = 5000
PUBLISHERS = 4
SEED = int(os.environ.get("NSSH_SEED") or random.SystemRandom().randrange(1 << 32))
"""Set NSSH_SEED to the number that a failure shows to have the same choices again."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(os.fspath(tmp_path / "ledger"))
    yield ledger
    ledger.close()


@pytest.mark.parametrize("door", ["relay-unix", "ntfy"], indirect=True)
def test_5000_messages_while_the_subscriber_reconnects_at_random_are_all_handled_once(
    door: Door, topic: str, ledger: Ledger, threads: Threads, tmp_path: Path
) -> None:
    """It wakes, its link is cut, or its process is replaced by one that knows only the ledger."""
    print(f"NSSH_SEED={SEED}")  # noqa: T201  (shown when it fails)
    chance = random.Random(SEED)  # noqa: S311  (repeatable)
    published: list[list[str]] = [[] for _ in range(PUBLISHERS)]

    def publish(mine: list[str]) -> None:
        direct = door.client(timeout=60)
        pauses = random.Random(SEED)  # noqa: S311  (repeatable)
        for number in range(COUNT // PUBLISHERS):
            mine.append(direct.publish(topic, f"{number}").id)
            if pauses.random() < 0.05:
                time.sleep(pauses.random() * 0.05)  # so that some moments are quiet

    def count() -> int:
        return sum(map(len, published))

    delivered: list[str] = []
    reconnects = 0
    with door.link() as link:
        session = Session(link.client, topic, ledger, threads)
        until(lambda: session.ups)
        publishers = [
            threads(lambda mine=mine: publish(mine))  # type: ignore[misc]
            for mine in published
        ]
        while any(publisher.is_alive() for publisher in publishers):
            time.sleep(chance.expovariate(1 / 0.08))  # at random moments: that is what is tried here
            way = chance.choice(("nudge", "cut", "cut", "replace"))
            if way == "nudge":
                session.feed.nudge()
            elif way == "cut":
                link.cut()
            else:
                session.end()
                delivered += session.ids
                ledger.close()
                ledger = Ledger(os.fspath(tmp_path / "ledger"))
                session = Session(link.client, topic, ledger, threads)
            reconnects += 1
        assert count() == COUNT
        until(lambda: len(delivered) + len(session.delivered) >= COUNT)
        last = link.client.poll(topic, None)[-1].id
        until(lambda: ledger.cursor == last)
        session.end()
        delivered += session.ids
    print(f"{door.name}: {reconnects} reconnects, {count()} messages")  # noqa: T201  (shown with -rP)
    assert reconnects > 10
    assert len(set(delivered)) == len(delivered), "none twice"
    assert sorted(delivered) == sorted(one for mine in published for one in mine), "none lost"
    assert [note for note in session.notes if isinstance(note, Up)]
    ledger.close()
    recorded = Ledger(os.fspath(tmp_path / "ledger"))
    assert all(recorded.seen(one) for one in delivered)
    recorded.close()
