"""How many URLs open by themselves in a row, on a clock that the test moves."""

from __future__ import annotations

from nssh.local.flood import FLOOD, FLOOD_SECONDS, Flood


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_next_one_waits_until_the_first_is_so_many_seconds_old() -> None:
    clock = Clock()
    flood = Flood(clock)
    assert [flood.admits() for _ in range(FLOOD)] == [True] * FLOOD
    assert not flood.admits()
    clock.now += FLOOD_SECONDS
    assert not flood.admits()
    clock.now += 0.001
    assert [flood.admits() for _ in range(FLOOD + 1)] == [True] * FLOOD + [False]


def test_what_was_held_does_not_count() -> None:
    """A program that goes on and on gets its share all the time, and not never again."""
    clock = Clock()
    flood = Flood(clock)
    opened = 0
    for _ in range(100 * FLOOD):
        clock.now += FLOOD_SECONDS / FLOOD / 4
        opened += flood.admits()
    assert opened >= 100 * FLOOD / 4 - FLOOD


def test_one_at_a_time_is_no_flood() -> None:
    clock = Clock()
    flood = Flood(clock)
    for _ in range(3 * FLOOD):
        clock.now += FLOOD_SECONDS / FLOOD + 0.001
        assert flood.admits()
