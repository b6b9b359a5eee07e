"""The feed's process killed at any moment: what each order of acting and claiming promises."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bus.conftest import Door

CHECKOUT = Path(__file__).resolve().parents[2]

# Follows a topic; what a message does is one line in a file. An `open` is claimed first, a clipboard write afterwards.
FOLLOWER = """
import os, sys
from nssh.bus.client import BusClient
from nssh.bus.feed import Feed
from nssh.bus.ledger import Ledger
address, topic, ledger_path, effects_path, order = sys.argv[1:]
ledger = Ledger(ledger_path)
effects = os.open(effects_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def deliver(batch, replayed):
    for message in batch:
        if order == "claim-first" and not ledger.claim(message.id):
            continue
        os.write(effects, message.id.encode() + b"\\n")
        if order == "act-first":
            ledger.claim(message.id)
Feed(BusClient(address), topic, ledger, deliver, lambda note: None).run()
"""


@pytest.mark.real
@pytest.mark.parametrize("order", ["claim-first", "act-first"])
@pytest.mark.parametrize("door", ["relay-unix", "ntfy"], indirect=True)
def test_a_process_killed_again_and_again(
    door: Door, topic: str, tmp_path: Path, order: str, threads: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    effects = tmp_path / "effects"
    effects.touch()
    words = [sys.executable, "-c", FOLLOWER, door.address, topic, str(tmp_path / "ledger"), str(effects), order]
    published: list[str] = []
    stop = threading.Event()

    def publish() -> None:
        client = door.client()
        while not stop.wait(0.002):
            published.append(client.publish(topic, "x").id)

    publisher = threads(publish)
    kills = 5
    for _ in range(kills):
        before = effects.stat().st_size
        with subprocess.Popen(words, cwd=CHECKOUT) as process:
            # Killed somewhere within what it does, a little further every time.
            target = before + 13 * random.randint(1, 120)  # noqa: S311  (no secret)
            until(lambda target=target: effects.stat().st_size >= target)  # type: ignore[misc]
            process.kill()
    stop.set()
    publisher.join(30)
    with subprocess.Popen(words, cwd=CHECKOUT) as process:
        until(lambda: published[-1] in effects.read_text().split())
        # The last one arrived, and a poll fetched all that came before it.
        until(lambda: len(set(effects.read_text().split())) >= len(published) - kills)
        process.kill()
    acted = Counter(effects.read_text().split())
    lost, repeated = set(published) - set(acted), [id_ for id_, times in acted.items() if times > 1]
    assert set(acted) <= set(published)
    if order == "claim-first":
        assert not repeated
        assert len(lost) <= kills
    else:
        assert not lost
        assert len(repeated) <= kills
