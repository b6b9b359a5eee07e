"""The watch by itself, at moments that real threads meet too rarely."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from actors.supervision._health import HealthWatch
from actors.supervision._incarnation import Incarnation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.supervision.support import FakeClock


def life(clock: FakeClock) -> Incarnation:
    return Incarnation("a", 1, health=10.0, changed=threading.Condition(), clock=clock, watch=HealthWatch(lambda: None))


def test_a_second_look_at_another_message_is_a_first_look(clock: FakeClock) -> None:
    watch = HealthWatch(lambda: None)
    actor = life(clock)
    actor.begin("First", None)
    clock.advance(11.0)
    assert watch.look([actor], clock.monotonic()) == []
    actor.finish()
    actor.begin("Second", None)
    clock.advance(11.0)
    assert watch.look([actor], clock.monotonic()) == []
    assert watch.next_look == clock.monotonic() + 1
    clock.advance(1.0)
    assert watch.look([actor], clock.monotonic()) == [actor]


def test_who_declares_less_than_it_may_take_may_take_that(clock: FakeClock) -> None:
    actor = life(clock)
    actor.begin("Message", None)
    actor.extend(1.0)
    assert actor.work is not None
    assert actor.work.deadline == clock.monotonic() + 10


def test_work_that_begins_during_a_look_is_not_missed() -> None:
    woken: list[str] = []
    watch = HealthWatch(lambda: woken.append("wake"))
    watch.next_look = 5.0

    def running() -> Iterator[Incarnation]:
        watch.on_busy(7.0)  # an actor that the look has just passed
        yield from ()

    assert watch.look(running(), 5.0) == []
    assert woken == ["wake"]
    assert watch.next_look == 7.0


def test_work_that_is_due_after_the_next_look_wakes_nobody(clock: FakeClock) -> None:
    woken: list[str] = []
    watch = HealthWatch(lambda: woken.append("wake"))
    actor = life(clock)
    actor.begin("First", None)
    watch.look([actor], clock.monotonic())
    for _ in range(1000):
        watch.on_busy(clock.monotonic() + 10)
    assert woken == []


def test_of_two_that_plan_a_look_at_once_the_earlier_counts() -> None:
    watch = HealthWatch(lambda: None)

    class Turn:
        def __enter__(self) -> None:
            watch.next_look = 5.0  # another actor was quicker

        def __exit__(self, *_: object) -> None:
            pass

    watch._lock = Turn()  # type: ignore[assignment]
    watch.on_busy(7.0)
    assert watch.next_look == 5.0
