"""A lease that is waited for: whoever holds it is another process, as with two sessions."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from nssh.state.lease import Lease
from nssh.state.lease_waiter import AwaitedLease
from tests.lab.waiting import until
from tests.unit.test_lease import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def holder(lease_path: str) -> Iterator[Holder]:
    one = Holder(lease_path)
    assert one.got
    yield one
    one.end()


@pytest.fixture
def lease(lease_path: str) -> Iterator[AwaitedLease]:
    one = AwaitedLease(lease_path)
    yield one
    one.release()


class Told:
    """Is told, and counts it."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        self.event.set()


def test_it_is_had_when_the_holder_dies(lease: AwaitedLease, holder: Holder) -> None:
    told = Told()
    lease.wait(told)
    assert not lease.acquire()
    assert not told.event.wait(0.1)
    holder.process.kill()
    assert told.event.wait(30)
    assert lease.held
    assert not Lease(lease._path).acquire()


def test_one_that_is_free_is_had_at_once(lease: AwaitedLease) -> None:
    told = Told()
    lease.wait(told)
    assert told.event.wait(30)
    assert lease.held


def test_of_two_who_wait_the_second_is_told(lease: AwaitedLease, holder: Holder) -> None:
    first, second = Told(), Told()
    lease.wait(first)
    lease.wait(second)
    holder.tell("release")
    assert second.event.wait(30)
    assert (first.times, second.times) == (0, 1)


def test_who_releases_it_waits_no_more(lease: AwaitedLease, holder: Holder) -> None:
    told = Told()
    lease.wait(told)
    lease.release()
    holder.tell("release")
    other = Lease(lease._path)
    until(lambda: lease._waiter is None)
    assert other.acquire()
    assert not lease.held
    assert not told.event.is_set()
    other.release()


def test_many_who_wait_have_it_one_after_the_other(lease_path: str, holder: Holder) -> None:
    """As sessions of one target do that end in turn; here in one process, whose open files are as good."""
    leases = [AwaitedLease(lease_path) for _ in range(20)]
    for one in leases:
        one.wait(lambda: None)
    holder.end()
    while leases:
        until(lambda: any(one.held for one in leases))
        held = [one for one in leases if one.held]
        assert len(held) == 1
        leases.remove(held[0])
        held[0].release()
    until(lambda: all(thread.name != "lease" for thread in threading.enumerate()))


def test_a_file_that_was_removed_meanwhile_is_not_the_lease(lease: AwaitedLease, holder: Holder) -> None:
    told = Told()
    lease.wait(told)
    until(lambda: _is_blocked(lease))
    os.unlink(lease._path)
    other = Lease(lease._path)
    assert other.acquire()
    holder.tell("release")
    assert not told.event.wait(0.1), "somebody else has the lease that is there now"
    other.release()
    assert told.event.wait(30)
    assert lease.held
    assert not Lease(lease._path).acquire()


def _is_blocked(lease: AwaitedLease) -> bool:
    """Whether the kernel lists somebody who waits for the file."""
    number = os.stat(lease._path).st_ino
    with open("/proc/locks") as locks:
        return any("->" in line and f":{number} " in line for line in locks)


def test_a_wait_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nssh.state.lease_waiter._PAUSE", 0.0)
    (tmp_path / "file").touch()
    lease = AwaitedLease(str(tmp_path / "file" / "lease"))
    told = Told()
    lease.wait(told)
    assert told.event.wait(30)
    with pytest.raises(NotADirectoryError):
        lease.acquire()
