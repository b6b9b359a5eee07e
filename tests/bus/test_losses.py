"""What is gone is noticed, told once, and nothing is told that is not so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.bus.client import BusClient
from nssh.bus.ledger import Ledger
from nssh.bus.losses import Continuity, Lost, Reach, Reason, expired, reach_after, timestamp
from nssh.bus.messages import Message
from nssh.wire import RETENTION
from tests.bus.test_feed import Session
from tests.lab.relay import RelayServer
from tests.lab.scripted import ScriptedServer, answer
from tests.lab.waiting import until

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from tests.bus.conftest import Door

    Threads = Callable[[Callable[[], object]], threading.Thread]

NOW = 1_800_000_000
HOUR = 3600


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(os.fspath(tmp_path / "ledger"))
    yield ledger
    ledger.close()


def losses(session: Session) -> list[Lost]:
    return [note for note in session.notes if isinstance(note, Lost)]


# An outage longer than what the server keeps.


@pytest.mark.parametrize(
    ("reach", "lost"),
    [
        (Reach(), None),
        (Reach(NOW), None),
        (Reach(NOW - 12 * HOUR), None),
        (Reach(NOW - 13 * HOUR), (NOW - 13 * HOUR, NOW - 12 * HOUR)),
        (Reach(NOW - 13 * HOUR, retention=24 * HOUR), None),
        (Reach(NOW - 2 * HOUR, retention=HOUR), (NOW - 2 * HOUR, NOW - HOUR)),
        (Reach(NOW + 5 * HOUR), None),
    ],
)
def test_an_outage_longer_than_the_server_keeps_messages(reach: Reach, lost: tuple[int, int] | None) -> None:
    found = expired(reach, float(NOW))
    assert (found and (found.reason, found.since, found.until)) == (lost and (Reason.EXPIRED, *lost))


def message(sent: int, expires: int | None) -> Message:
    return Message("x", sent, "", expires=expires)


def test_how_long_the_server_keeps_messages_is_what_the_newest_says_within_reason() -> None:
    before = Reach(NOW - 9, 5 * HOUR, NOW - 99)
    assert reach_after(before, None, [], forgotten=False) == before
    assert reach_after(before, NOW, [], forgotten=False) == Reach(NOW, 5 * HOUR, NOW - 99)
    assert reach_after(before, NOW, [], forgotten=True) == Reach(NOW, 5 * HOUR, 0)
    backlog = [message(NOW - 20, NOW - 20 + HOUR), message(NOW - 10, NOW - 10 + 2 * HOUR), message(NOW - 5, None)]
    assert reach_after(before, NOW + 0.9, backlog, forgotten=True) == Reach(NOW, 2 * HOUR, NOW - 5)
    for expires, kept in ((0, 60), (NOW, 60), (1 << 39, 366 * 24 * HOUR)):
        assert reach_after(before, NOW, [message(NOW, expires)], forgotten=False).retention == kept


@pytest.fixture
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_what_is_told_names_time_and_reason() -> None:
    span = "what the remote sent from 2027-01-15 08:00 to 2027-01-15 09:00, if anything, is lost: "
    assert [Lost(reason, NOW, NOW + HOUR).text for reason in Reason] == [
        f"{span}nobody fetched it, and the bus keeps messages for 12h0m0s only",
        f"{span}the bus has lost what it had kept",
        f"{span}it was more than the bus hands over at once",
    ]
    assert "before 2027-01-15 08:00" in Lost(Reason.TRUNCATED, 0, NOW).text
    assert "unknown time" in Lost(Reason.TRUNCATED, 1, 1 << 60).text
    assert timestamp(NOW) == "2027-01-15T08:00:00Z"
    assert timestamp(0) == timestamp(1 << 60) == ""


def test_an_outage_that_was_too_long_is_told_once_and_what_is_left_is_fetched(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    client = door.client()
    first = Session(client, topic, ledger, threads)
    until(lambda: first.ups)
    assert ledger.reach.until >= time.time() - 60
    assert losses(first) == []
    first.end()
    away = int(time.time()) - 26 * HOUR
    ledger.set_reach(ledger.reach._replace(until=away))
    missed = client.publish(topic, "missed").id
    second = Session(client, topic, ledger, threads)
    until(lambda: second.ups)
    (lost,) = losses(second)
    assert (lost.reason, lost.since) == (Reason.EXPIRED, away)
    assert abs(lost.until - (time.time() - RETENTION)) < 60
    assert second.ids == [missed]
    second.feed.nudge()
    until(lambda: len(second.ups) == 2)
    second.end()
    assert len(losses(second)) == 1, "once"


def test_what_the_server_says_of_retention_is_remembered(
    door: Door, topic: str, ledger: Ledger, threads: Threads, tmp_path: Path
) -> None:
    client = door.client()
    published = client.publish(topic, "x")
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    session.end()
    ledger.close()
    again = Ledger(os.fspath(tmp_path / "ledger"))
    assert again.reach.retention == 12 * HOUR
    assert again.reach.newest == published.time
    assert not again.damaged


# A server that lost what it should have.


@pytest.fixture
def amnesiac() -> Iterator[RelayServer]:
    """A relay whose spool can be taken away."""
    with RelayServer() as server:
        yield server


@pytest.mark.real
@pytest.mark.parametrize("afterwards", [0, 1, 3])
def test_a_server_that_lost_its_messages_is_noticed_once(
    amnesiac: RelayServer, topic: str, ledger: Ledger, threads: Threads, afterwards: int
) -> None:
    client = BusClient(f"unix:{amnesiac.socket}")
    before = [client.publish(topic, f"{number}").id for number in range(4)]
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    until(lambda: ledger.cursor == before[-1])
    session.end()
    # The same again is fine; then everything is gone.
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    session.end()
    assert (session.ids, losses(session)) == ([], [])
    amnesiac.kill()
    for path in (amnesiac.state / "relay").glob("spool.db*"):
        path.unlink()
    amnesiac.start()
    after = [client.publish(topic, f"after {number}").id for number in range(afterwards)]
    session = Session(client, topic, ledger, threads)
    until(lambda: losses(session))
    until(lambda: session.ups)
    assert [lost.reason for lost in losses(session)] == [Reason.FORGOTTEN]
    assert session.ids == after
    for count in (2, 3):
        session.feed.nudge()
        until(lambda count=count: len(session.ups) == count)  # type: ignore[misc]
    then = client.publish(topic, "live").id
    until(lambda: ledger.cursor == then)
    session.feed.nudge()
    until(lambda: len(session.ups) == 4)
    session.end()
    assert len(losses(session)) == 1, "once"
    assert session.ids == [*after, then]


class Server:
    """The cache of ntfy as far as it matters: rows by insertion, told by time; an unknown place means everything."""

    def __init__(self, times: list[int]) -> None:
        self.rows = [(f"m{row}", sent) for row, sent in enumerate(times)]
        self.kept = 0

    def poll(self, since: str | None) -> list[str]:
        rows = self.rows[self.kept :]
        places = [index for index, (name, _) in enumerate(rows) if name == since]
        found = rows[places[0] + 1 :] if places else rows
        return [name for name, _ in sorted(found, key=lambda row: row[1])]


@given(
    times=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    polls=st.lists(st.integers(1, 4), max_size=6),
    lost=st.booleans(),
    more=st.integers(0, 3),
)
def test_only_what_is_lost_counts_as_lost_however_messages_are_ordered(
    times: list[int], polls: list[int], more: int, *, lost: bool
) -> None:
    server = Server(times)
    everything, server.rows = server.rows, []
    anchor = cursor = None
    for count in polls:
        server.rows = everything[: len(server.rows) + count]
        for name in server.poll(cursor)[-2:]:
            if name != cursor:
                anchor, cursor = cursor, name
    if lost:
        server.kept = len(server.rows)
    server.rows = everything[: len(server.rows) + more]
    continuity = Continuity(anchor, cursor, Reach(NOW - 99, RETENTION, NOW - 99), float(NOW))
    assert continuity.pending == (cursor is not None)
    found = None
    while continuity.pending:
        assert found is None
        found = continuity.took(server.poll(continuity.since))
    assert (found is not None) == (lost and cursor is not None)


def test_an_old_cursor_and_a_server_without_a_clock_tell_nothing() -> None:
    for now, newest in ((None, NOW), (float(NOW), NOW - 12 * HOUR), (float(NOW), 0)):
        assert not Continuity("a", "b", Reach(NOW - 5, RETENTION, newest), now).pending


# A server that hands over only the newest.


def test_a_backlog_that_the_server_cut_is_told_and_the_rest_is_handed_over(
    topic: str, ledger: Ledger, threads: Threads
) -> None:
    event = b'{"id":"%s","time":1800000000,"event":"%s","topic":"t","message":"x"}\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    stream = head + event % (b"o", b"open")
    cut = answer(event % (b"late", b"message"), headers="X-Messages-Truncated: 1\r\n")
    whole = answer(event % (b"late", b"message"))
    ledger.set_cursor("a")
    ledger.set_cursor("b")
    ledger.set_reach(Reach(NOW - 60, RETENTION, NOW - 60))
    with ScriptedServer(stream, cut, whole, hold=True) as server:
        session = Session(BusClient(server.url), topic, ledger, threads)
        until(lambda: session.ups)
        until(lambda: len(server.requests) > 2)
        session.end()
    assert session.ids == ["late"]
    assert losses(session) == [Lost(Reason.TRUNCATED, NOW - 60, NOW)]
    assert ledger.cursor == "late"


# What the ledger keeps of it.


def test_anchor_and_reach_and_what_was_lost_survive_the_process_and_damage(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "ledger")
    ledger = Ledger(path)
    assert (ledger.anchor, ledger.reach, ledger.lost) == (None, Reach(), None)
    for name in ("a", "b", "b", "c"):
        ledger.set_cursor(name)
    ledger.set_reach(Reach(1, 2, 3))
    ledger.set_reach(Reach(4, 5, 6))
    ledger.set_lost(7, "something")
    ledger.set_lost(8, "what was sent; and more")
    for _ in range(2):  # as appended, and as rewritten by the load
        ledger.close()
        ledger = Ledger(path)
        assert (ledger.anchor, ledger.cursor, ledger.reach, ledger.damaged) == ("b", "c", Reach(4, 5, 6), False)
        assert ledger.lost == (8, "what was sent; and more")
    ledger.close()
    for junk in (
        "l",
        "l x",
        "l 1\tx",
        "l -1 x",
        "r 1 2",
        "r 1 2 3 4",
        "r 1 2 x",
        "r 1 -2 3",
        "r  2 3",
        f"r 1 2 {'9' * 50}",
    ):
        with Path(path).open("a", encoding="ascii") as file:
            file.write(f"{junk};\n")
        assert (ledger.reach, ledger.lost, ledger.damaged) == (Reach(4, 5, 6), (8, "what was sent; and more"), True)
        ledger.close()
