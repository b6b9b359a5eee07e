"""Both ends of the pipe that heartbeats go through."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from actors.supervision import Heartbeat
from actors.supervision import _heartbeat as module
from actors.supervision._heartbeat import INTERVAL, VARIABLE, Pulse

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    one = Pulse()
    yield one
    one.close()


def test_a_beat_is_heard_once(pulse: Pulse) -> None:
    now = 1000.0
    heart = Heartbeat(pulse.writer, lambda: now)
    assert not pulse.heard()
    heart.beat()
    assert pulse.heard()
    assert not pulse.heard()
    os.close(pulse.writer)


def test_beats_are_written_no_oftener_than_is_of_use(pulse: Pulse) -> None:
    times = iter([0.0, INTERVAL / 2, INTERVAL, INTERVAL * 1.5])
    heart = Heartbeat(pulse.writer, lambda: next(times))
    heart.beat()
    heart.beat()
    heart.beat()
    heart.beat()
    assert len(os.read(pulse.fd, 100)) == 2
    os.close(pulse.writer)


def test_a_full_pipe_and_a_keeper_that_is_gone_are_no_errors() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    heart = Heartbeat(writer, iter([100.0 * number for number in range(200_000)]).__next__)
    for _ in range(100_000):
        heart.beat()
    os.close(reader)
    heart.beat()
    heart.beat()
    os.close(writer)


def test_the_end_of_the_other_side_is_no_heartbeat(pulse: Pulse) -> None:
    os.close(pulse.writer)
    assert not pulse.heard()


def test_a_process_without_one_beats_into_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    Heartbeat.adopt().beat()


def test_another_file_is_never_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody passes the environment on, but not the descriptor, whose number is another file's by now."""
    reader, writer = os.pipe()
    monkeypatch.setattr(module, "DESCRIPTOR", writer)
    monkeypatch.setenv(VARIABLE, "1")
    Heartbeat.adopt().beat()
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, str(os.fstat(writer).st_ino))
    Heartbeat.adopt().beat()
    assert os.read(reader, 100) == b"."
    assert not os.get_inheritable(writer)
    os.close(reader)
    os.close(writer)
