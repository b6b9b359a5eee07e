"""The seam of a real ntfy: messages published while the subscriber reconnects at random, each handled once."""

from __future__ import annotations

import functools
import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import BusError
from nssh.bus.ledger import Ledger
from tests.bus.test_feed import Session
from tests.lab.ntfy import NtfyServer
from tests.lab.waiting import until

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bus.conftest import Door

    Threads = Callable[[Callable[[], object]], threading.Thread]

pytestmark = pytest.mark.real

COUNT = 5000
PUBLISHERS = 4
SEED = int(os.environ.get("NSSH_SEED") or random.SystemRandom().randrange(1 << 32))
"""Set NSSH_SEED to the number that a failure shows to have the same choices again."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(os.fspath(tmp_path / "ledger"))
    yield ledger
    ledger.close()


class Publishers:
    """Several programs that publish at once, with pauses, and try again as a shim does, but without end."""

    def __init__(self, door: Door, topic: str, threads: Threads) -> None:
        self._door = door
        self._topic = topic
        self._accepted: list[list[str]] = [[] for _ in range(PUBLISHERS)]
        self._threads = [threads(functools.partial(self._publish, mine)) for mine in self._accepted]

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    @property
    def accepted(self) -> set[str]:
        return {one for mine in self._accepted for one in mine}

    def _publish(self, mine: list[str]) -> None:
        direct = self._door.client(timeout=60)
        pauses = random.Random(SEED)  # noqa: S311  (repeatable)
        while len(mine) < COUNT // PUBLISHERS:
            try:
                mine.append(direct.publish(self._topic, f"{len(mine)}").id)
            except BusError:
                time.sleep(0.05)  # an ntfy that died of a panic is being started again
            if pauses.random() < 0.05:
                time.sleep(pauses.random() * 0.05)  # so that some moments are quiet


def _panics(door: Door) -> int:
    """How often the server has died so far: ntfy 2.11 now and then does, and is started again."""
    return door.server.panics if isinstance(door.server, NtfyServer) else 0


@pytest.mark.parametrize("door", ["relay-unix", "ntfy"], indirect=True)
def test_5000_messages_while_the_subscriber_reconnects_at_random_are_all_handled_once(
    door: Door, topic: str, ledger: Ledger, threads: Threads, tmp_path: Path
) -> None:
    """It wakes, its link is cut, or its process is replaced by one that knows only the ledger."""
    print(f"NSSH_SEED={SEED}")  # noqa: T201  (shown when it fails)
    chance = random.Random(SEED)  # noqa: S311  (repeatable)
    delivered: list[str] = []
    reconnects, before = 0, _panics(door)
    with door.link() as link:
        session = Session(link.client, topic, ledger, threads)
        until(lambda: session.ups)
        publishers = Publishers(door, topic, threads)
        while publishers.busy:
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
        accepted = publishers.accepted
        assert len(accepted) == COUNT
        everything = [message.id for message in door.client().poll(topic, None)]
        until(lambda: len(delivered) + len(session.delivered) >= len(everything))
        until(lambda: ledger.cursor == everything[-1])
        session.end()
        delivered += session.ids
    deaths = _panics(door) - before
    print(f"{door.name}: {reconnects} reconnects, {deaths} deaths")  # noqa: T201  (shown with -rP)
    assert reconnects > 10
    assert len(set(delivered)) == len(delivered), "none twice"
    assert sorted(delivered) == sorted(everything), "none lost"
    assert accepted <= set(delivered)
    assert len(delivered) <= COUNT + deaths * PUBLISHERS, "what a death left unanswered comes on top"
    ledger.close()
    recorded = Ledger(os.fspath(tmp_path / "ledger"))
    assert all(recorded.seen(one) for one in delivered)
    recorded.close()
