"""The feed against real servers: every message once, whatever breaks."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from nssh.base.errors import BusError
from nssh.bus.backoff import attempts
from nssh.bus.client import BusClient
from nssh.bus.feed import CaughtUp, Down, Feed, LastHeard, Up
from nssh.bus.ledger import Ledger
from nssh.bus.live_stream import LiveStream
from nssh.bus.messages import Event
from tests.lab import ntfy
from tests.lab.scripted import ScriptedServer, answer
from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nssh.bus.losses import Lost
    from nssh.bus.messages import Message
    from tests.bus.conftest import Door
    from tests.lab.relay import RelayServer

    Threads = Callable[[Callable[[], object]], threading.Thread]


class Session:
    """A feed on a thread, and everything that it told."""

    def __init__(self, client: BusClient, topic: str, ledger: Ledger, threads: Threads, **options: Any) -> None:
        self.delivered: list[Message] = []
        self.batches: list[tuple[int, bool]] = []
        self.notes: list[Up | Down | Lost | CaughtUp] = []
        self.hold = threading.Event()
        self.hold.set()
        options.setdefault("attempts", attempts(0.2))
        self.feed = Feed(client, topic, ledger, self._deliver, self.notes.append, **options)
        self.thread = threads(self.feed.run)

    def _deliver(self, batch: list[Message], replayed: bool) -> None:  # noqa: FBT001  (the feed's signature)
        self.hold.wait(60)
        self.batches.append((len(batch), replayed))
        self.delivered += batch

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.delivered]

    @property
    def ups(self) -> list[Up]:
        return [note for note in self.notes if isinstance(note, Up)]

    @property
    def downs(self) -> list[Down]:
        return [note for note in self.notes if isinstance(note, Down)]

    def end(self) -> None:
        self.feed.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(os.fspath(tmp_path / "ledger"))
    yield ledger
    ledger.close()


def test_a_fresh_topic_begins_with_what_is_there_and_goes_on_live(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    client = door.client()
    first = [client.publish(topic, f"{number}").id for number in range(3)]
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    assert session.ups == [Up(reconnect=False, gap=0.0, since=None, replayed=3)]
    then = client.publish(topic, "live").id
    until(lambda: len(session.delivered) == 4)
    assert session.ids == [*first, then]
    assert session.batches == [(3, True), (1, False)]
    # A quiet moment later a poll confirms it, and only that moves the cursor.
    until(lambda: ledger.cursor == then)
    session.end()
    assert session.ids == [*first, then]
    assert not session.downs


def test_what_the_server_accepted_is_caught_up_with_however_late_the_stream_is(
    door: Door, topic: str, ledger: Ledger, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveStream, "__iter__", _without_messages(LiveStream.__iter__))
    client = door.client()
    session = Session(client, topic, ledger, threads)
    before = session.feed.catch_up()
    until(lambda: CaughtUp(before) in session.notes)
    assert isinstance(session.notes[0], Up)
    sent = [client.publish(topic, f"{number}").id for number in range(3)]
    session.feed.catch_up()
    ticket = session.feed.catch_up()
    until(lambda: CaughtUp(ticket) in session.notes)
    assert session.ids == sent
    session.end()


def _without_messages(original: Callable[[LiveStream], Iterator[Event]]) -> Callable[[LiveStream], Iterator[Event]]:
    return lambda self: (event for event in original(self) if event.kind != "message")


def test_a_restart_goes_on_at_the_cursor_and_repeats_nothing(
    door: Door, topic: str, ledger: Ledger, threads: Threads, tmp_path: Path
) -> None:
    client = door.client()
    first = Session(client, topic, ledger, threads)
    until(lambda: first.ups)
    seen = [client.publish(topic, "seen").id for _ in range(5)]
    until(lambda: len(first.delivered) == 5)
    first.end()
    missed = [client.publish(topic, "missed").id for _ in range(5)]
    # Another process would read the same file.
    ledger.close()
    second = Session(client, topic, Ledger(os.fspath(tmp_path / "ledger")), threads)
    until(lambda: second.ups)
    second.end()
    # ntfy hands messages that follow each other at once to a live stream as its threads come.
    assert sorted(first.ids) == sorted(seen)
    assert second.ids == missed
    assert second.ups[0].replayed == 5


def test_every_message_once_while_the_link_breaks_again_and_again(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    published: list[str] = []
    stop = threading.Event()

    def publish() -> None:
        direct = door.client()
        for number in itertools.count():
            published.append(direct.publish(topic, f"{number}").id)
            if stop.wait(0.002):
                return

    with door.link() as link:
        session = Session(link.client, topic, ledger, threads)
        until(lambda: session.ups)
        publisher = threads(publish)
        for round_ in range(6):
            if round_ % 2:
                link.cut()
            else:
                session.feed.nudge()
            until(lambda round_=round_: len(session.ups) >= round_ + 2)  # type: ignore[misc]
            arrived = len(session.delivered)
            until(lambda arrived=arrived: len(session.delivered) >= arrived + 20)  # type: ignore[misc]
        stop.set()
        publisher.join(30)
        until(lambda: len(session.delivered) >= len(published))
        until(lambda: ledger.cursor == published[-1])
        session.end()
    assert len(set(session.ids)) == len(session.ids)
    assert sorted(session.ids) == sorted(published)
    assert all(up.reconnect and up.gap >= 0 for up in session.ups[1:])


def test_nothing_is_lost_or_repeated_when_the_server_dies_under_it(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    client = door.client()
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    published = [client.publish(topic, f"{number}").id for number in range(10)]
    door.server.kill()
    if not door.revives:
        until(lambda: session.downs)
        assert session.downs[0].error.kind == "unreachable"
    door.server.start()
    until(lambda: len(session.ups) == 2)
    published += [client.publish(topic, f"{number}").id for number in range(10)]
    until(lambda: len(session.delivered) >= 20)
    until(lambda: ledger.cursor == published[-1])
    session.end()
    assert sorted(session.ids) == sorted(published)
    assert len(session.downs) == 1
    assert session.ups[1].reconnect


def test_after_a_sleep_the_gap_is_told_with_the_place_and_what_was_missed(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    slept = [0.0]
    client = door.client()
    session = Session(client, topic, ledger, threads, clock=lambda: time.monotonic() + slept[0])
    until(lambda: session.ups)
    place = client.publish(topic, "awake").id
    until(lambda: session.ids == [place])
    session.feed.nudge()  # so that a poll moves the cursor there at once
    until(lambda: len(session.ups) == 2)
    slept[0] += 8 * 3600
    session.feed.nudge()
    until(lambda: len(session.ups) == 3)
    session.end()
    up = session.ups[-1]
    assert (up.reconnect, up.since, up.replayed) == (True, place, 0)
    assert 8 * 3600 <= up.gap < 8 * 3600 + 60
    assert not session.downs, "to sleep is no outage of the bus"


def test_the_next_feed_of_a_session_tells_the_gap_since_the_one_before(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    """As after a restart of the actor or the bridge: until when the first one heard the bus is all it has left."""
    now = [1000.0]
    heard = LastHeard()
    client = door.client()
    first = Session(client, topic, ledger, threads, heard=heard, clock=lambda: now[0])
    until(lambda: first.ups)
    assert (first.ups[0].reconnect, first.ups[0].gap, heard.at) == (False, 0.0, 1000.0)
    now[0] += 50
    client.publish(topic, "heard")
    until(lambda: first.delivered)
    assert heard.at == 1050.0
    now[0] += 7
    first.end()
    second = Session(door.client(), topic, ledger, threads, heard=heard, clock=lambda: now[0])
    until(lambda: second.ups)
    assert (second.ups[0].reconnect, second.ups[0].gap) == (True, 7.0)
    second.end()
    earlier = LastHeard(now[0] + 3)
    third = Session(door.client(), topic, ledger, threads, heard=earlier, clock=lambda: now[0])
    until(lambda: third.ups)
    assert (third.ups[0].reconnect, third.ups[0].gap) == (True, 0.0), "never less than none"
    third.end()


def test_what_is_heard_before_the_bus_is_up_does_not_count(topic: str, ledger: Ledger, threads: Threads) -> None:
    """The stream opens and its poll fails, again and again: the session has not been connected yet."""
    heard = LastHeard()
    client = BusClient("http://127.0.0.1:9")
    client.stream = lambda _: OpenStream()  # type: ignore[method-assign, assignment, return-value]
    session = Session(client, topic, ledger, threads, heard=heard)
    until(lambda: session.downs)
    session.end()
    assert heard.at == 0.0


class OpenStream:
    """A stream that opens, and says nothing more."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def __enter__(self) -> Iterator[Event]:
        def events() -> Iterator[Event]:
            yield Event("open", 1)
            self._over.wait(30)

        return events()

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        self._over.set()


def test_to_be_woken_drops_nothing_that_is_connected_anew(
    door: Door, topic: str, ledger: Ledger, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = door.client()
    polling, cut = threading.Event(), threading.Event()
    cuts: list[bool] = []
    drop, ask = client.close, client.poll

    def slow_cut() -> None:
        polling.clear()
        cuts.append(polling.wait(0.3))  # time enough for a new life to begin, if it may
        drop()
        cut.set()

    def poll(*arguments: Any, **options: Any) -> Any:
        before = len(cuts)
        polling.set()
        cut.wait(0.3)
        if len(cuts) != before:
            raise BusError("the connection was dropped", "unreachable")
        return ask(*arguments, **options)

    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    monkeypatch.setattr(client, "close", slow_cut)
    monkeypatch.setattr(client, "poll", poll)
    session.feed.nudge()
    until(lambda: len(session.ups) == 2)
    session.end()
    assert cuts == [False]
    assert not session.downs


@pytest.mark.real
@pytest.mark.parametrize("door", ["relay-unix", "ntfy"], indirect=True)  # the others revive their server
def test_an_outage_is_told_once(door: Door, topic: str, ledger: Ledger, threads: Threads) -> None:
    client = door.client()
    door.server.kill()
    try:
        begun: list[float] = []

        def rand() -> float:
            begun.append(1.0)
            return 1.0

        session = Session(client, topic, ledger, threads, attempts=attempts(0.01, rand))
        until(lambda: len(begun) > 5)
        assert len(session.notes) == 1
    finally:
        door.server.start()
    until(lambda: session.ups)
    session.end()
    assert [type(note) for note in session.notes] == [Down, Up]


def test_a_slow_receiver_does_not_cost_the_stream(door: Door, topic: str, ledger: Ledger, threads: Threads) -> None:
    client = door.client()
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    session.hold.clear()
    published = [client.publish(topic, "x" * 1000).id for _ in range(2200)]
    session.hold.set()
    until(lambda: len(session.delivered) >= len(published))
    session.end()
    assert sorted(session.ids) == sorted(published)
    assert [type(note) for note in session.notes] == [Up]
    # More than the reader keeps waiting: a poll brought the rest.
    assert any(replayed for _, replayed in session.batches)


def test_a_wedged_stream_is_replaced(door: Door, topic: str, ledger: Ledger, threads: Threads) -> None:
    client = door.client(dead_after=0.5, timeout=1.0)
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    door.server.pause()
    try:
        until(lambda: session.downs)
    finally:
        door.server.resume()
    published = client.publish(topic, "after").id
    until(lambda: session.ids == [published])
    session.end()


def test_stop_is_immediate_even_while_the_server_hangs(
    door: Door, topic: str, ledger: Ledger, threads: Threads
) -> None:
    client = door.client(timeout=60, dead_after=90)
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    door.server.pause()
    try:
        session.feed.nudge()
        begun = time.monotonic()
        session.end()
        assert time.monotonic() - begun < 20
    finally:
        door.server.resume()


def test_a_claimed_message_is_not_handed_over_again(door: Door, topic: str, ledger: Ledger, threads: Threads) -> None:
    client = door.client()
    ids = [client.publish(topic, f"{number}").id for number in range(3)]
    # As after a crash between acting on it and returning from `deliver`.
    assert ledger.claim(ids[1])
    session = Session(client, topic, ledger, threads)
    until(lambda: session.ups)
    session.end()
    assert session.ids == [ids[0], ids[2]]
    assert ledger.cursor == ids[2]


def test_what_deliver_raises_ends_the_run_and_the_messages_come_again(door: Door, topic: str, ledger: Ledger) -> None:
    client = door.client()
    published = client.publish(topic, "x").id

    def fail(batch: list[Message], replayed: bool) -> None:  # noqa: FBT001  (the feed's signature)
        raise RuntimeError("no clipboard")

    with pytest.raises(RuntimeError, match="no clipboard"):
        Feed(client, topic, ledger, fail, lambda _: None).run()
    assert ledger.cursor is None
    assert not ledger.seen(published)


@pytest.mark.real
@pytest.mark.parametrize("door", ["relay-unix", "ntfy"], indirect=True)
def test_a_backlog_of_10000_arrives_once_and_in_order(
    door: Door, topic: str, ledger: Ledger, threads: Threads, record_property: Callable[[str, object], None]
) -> None:
    publishers = 4
    ids: list[list[str]] = [[] for _ in range(publishers)]

    def publish(mine: list[str]) -> None:
        client = door.client(timeout=60)
        mine.extend(
            client.publish(topic, f'{{"kind":"ping","id":"{number}"}}').id for number in range(10_000 // publishers)
        )

    for mine in ids:
        threads(lambda mine=mine: publish(mine))  # type: ignore[misc]
    until(lambda: sum(map(len, ids)) == 10_000, 110)
    begun = time.monotonic()
    session = Session(door.client(timeout=60), topic, ledger, threads)
    until(lambda: len(session.delivered) >= 10_000)
    until(lambda: session.ups)
    seconds = time.monotonic() - begun
    record_property("seconds", seconds)
    print(f"backlog of 10,000 by {door.name}: {seconds:.2f} s")  # noqa: T201  (shown with -s or -rP)
    session.end()
    assert session.batches[0] == (10_000, True)
    position = {id_: index for index, id_ in enumerate(session.ids)}
    assert len(position) == 10_000
    for mine in ids:
        places = [position[id_] for id_ in mine]
        assert places == sorted(places)
    assert ledger.cursor == session.ids[-1]


@pytest.mark.real
def test_refused_credentials_are_told_and_tried_again_slowly(topic: str, ledger: Ledger, threads: Threads) -> None:
    with ntfy.running(auth=True) as server:
        session = Session(BusClient(server.url, token="tk_" + "a" * 29), topic, ledger, threads)
        until(lambda: session.downs)
        session.end()
    assert [down.error.kind for down in session.downs] == ["auth"]


def test_an_outage_that_turns_out_to_be_refused_credentials_is_told_again(
    topic: str, ledger: Ledger, threads: Threads
) -> None:
    # A poll or stream whose connection closes early is asked for once more, hence two of these.
    with ScriptedServer(b"", b"", answer(b'{"code":40101,"http":401}', status="401 Unauthorized")) as server:
        session = Session(BusClient(server.url), topic, ledger, threads)
        until(lambda: len(session.downs) == 2)
        session.end()
    assert [down.error.kind for down in session.downs] == ["unreachable", "auth"]


def test_polls_that_fail_while_the_stream_lives_cost_no_live_message(
    topic: str, ledger: Ledger, threads: Threads
) -> None:
    event = b'{"id":"%s","time":1800000000,"event":"%s","topic":"t","message":"x"}\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    stream = head + event % (b"o", b"open") + event % (b"live", b"message")
    limit = answer(b'{"code":42901,"http":429}', status="429 Too Many Requests")
    backlog = answer(event % (b"missed", b"message") + event % (b"live", b"message"))
    with ScriptedServer(stream, limit, limit, backlog, hold=True) as server:
        session = Session(BusClient(server.url), topic, ledger, threads)
        until(lambda: session.ups)
        session.end()
    assert session.ids == ["live", "missed"]
    assert [type(note) for note in session.notes] == [Down, Up]
    assert session.downs[0].error.kind == "limit"
    assert ledger.cursor == "live"


def test_a_stream_that_never_says_that_it_is_open_is_given_up(
    topic: str, ledger: Ledger, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nssh.bus.feed.OPEN_SECONDS", 0.2)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
    with ScriptedServer(head + b"\n\n", hold=True) as server:
        session = Session(BusClient(server.url), topic, ledger, threads)
        until(lambda: session.downs)
        session.end()
    assert [down.error.kind for down in session.downs] == ["server"]
    assert "does not begin it" in str(session.downs[0].error)


@pytest.mark.real
def test_the_first_poll_finds_a_connection_that_was_dialled_beside_the_stream(
    relay_server: RelayServer, topic: str, ledger: Ledger, threads: Threads
) -> None:
    go, dialled = threading.Event(), []

    def dial() -> socket.socket:
        dialled.append(time.monotonic())
        if len(dialled) == 1:
            assert go.wait(30)  # the stream's, which is slow
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(os.fspath(relay_server.socket))
        return stream

    client = BusClient("", dial=dial)
    session = Session(client, topic, ledger, threads)
    until(lambda: len(dialled) == 2)
    assert not session.ups
    go.set()
    until(lambda: session.ups)
    assert len(dialled) == 2, "and it was used"
    session.end()
    client.close()


def test_a_connection_that_can_not_be_had_ahead_is_the_polls_to_tell(
    topic: str, ledger: Ledger, threads: Threads
) -> None:
    def dial() -> socket.socket:
        raise OSError(111, "Connection refused")

    session = Session(BusClient("", dial=dial), topic, ledger, threads)
    until(lambda: session.downs)
    session.end()
