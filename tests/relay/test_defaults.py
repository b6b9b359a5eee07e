"""What the relay does if nobody says otherwise, on a clock that the test moves."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

import pytest

from nssh.relay import main, server
from nssh.relay.relay_paths import RelayPaths
from nssh.wire import RETENTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(server, "monotonic", made)
    return made


@pytest.fixture
def relay(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[server.Server]:
    monkeypatch.chdir(tmp_path)  # it goes elsewhere, and comes back with the test's end
    made = main._make_server(RelayPaths(str(tmp_path), ""), main._Options("serve", ["--foreground"]))
    yield made
    made._stop()


def test_it_ends_after_ten_idle_minutes(relay: server.Server, clock: Clock) -> None:
    clock.now += main.IDLE - 1
    assert relay._check(select.poll())
    clock.now += 1
    assert not relay._check(select.poll())


def test_it_keeps_messages_for_twelve_hours(relay: server.Server) -> None:
    relay._store.publish("t", "x")
    now = time.time()
    assert relay._store.purge(now + RETENTION - 60) == 0
    assert relay._store.purge(now + RETENTION + 60) == 1
