"""The parts below the client and the feed, without a server."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import BusError
from nssh.bus.backoff import attempts, delay
from nssh.bus.client import DEAD_AFTER, BusClient
from nssh.bus.messages import MAX_LINE, BadLineError, Lines, parse_event, parse_published
from nssh.bus.schedule import BUSY_SECONDS, CONFIRM_SECONDS, IDLE_SECONDS, SETTLE_SECONDS, Schedule
from nssh.bus.sockets import Cutter, as_socket
from nssh.wire import MESSAGE_LIMIT
from nssh.wire import envelope as wire
from tests.lab.scripted import ScriptedServer, answer

if TYPE_CHECKING:
    from tests.bus.conftest import Door


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=50))
def test_lines_come_out_the_same_however_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    lines = Lines()
    found: list[bytes] = []
    rest = data
    for cut in cuts:
        found += lines.feed(rest[:cut])
        rest = rest[cut:]
    found += lines.feed(rest)
    assert found == [line for line in data.split(b"\n")[:-1] if line.strip()]


@pytest.mark.parametrize("size", [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE])
@pytest.mark.parametrize("piece", [1000, 65536, 10 * MAX_LINE])
def test_a_line_beyond_the_limit_is_left_out_and_costs_no_more_memory_than_the_limit(size: int, piece: int) -> None:
    data = b"before\n" + b"x" * size + b"\nafter\n"
    lines = Lines()
    found: list[bytes] = []
    for start in range(0, len(data), piece):
        found += lines.feed(data[start : start + piece])
        assert len(lines._rest) <= MAX_LINE
    fits = size <= MAX_LINE
    assert found == [b"before", *([b"x" * size] if fits else []), b"after"]


JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("ab\u00fc", max_size=5)
    | st.just([1])
    | st.just({"a": 1})
)
FIELDS = st.dictionaries(
    st.sampled_from(["event", "id", "time", "message", "attachment", "error", "http", "code", "subscribers"]),
    st.sampled_from(["message", "open", "abc", 1_800_000_000]) | JSON,
)


@given(FIELDS)
def test_any_json_object_is_an_event_or_left_out_or_refused(fields: dict[str, object]) -> None:
    data = json.dumps(fields).encode()
    try:
        event = parse_event(data)
    except BadLineError:
        assert "error" in fields
    else:
        if event is not None and event.message is not None:
            assert (event.message.id, event.message.time) == (fields["id"], fields["time"])
            assert isinstance(event.message.text, str)
    try:
        published = parse_published(data)
    except BadLineError:
        return
    assert isinstance(published.id, str)


@given(st.integers(0, 40), st.floats(0, 1), st.sampled_from(["unreachable", "limit", "server"]))
def test_backoff_grows_to_its_cap_and_no_further(failures: int, rand: float, kind: str) -> None:
    failed = attempts(random=lambda: rand)
    error = BusError("x", kind)
    delays = [delay(failed, error) for _ in range(failures + 1)]
    assert 0.05 * (1 - 1e-9) <= delays[0] <= 0.1 * (1 + 1e-9)
    assert delays == sorted(delays)
    assert delays[-1] <= 30
    failed.reset()
    assert delay(failed, error) == delays[0]


@given(st.floats(0, 3600), st.floats(0, 1))
def test_backoff_never_undercuts_what_the_server_asked_for(asked: float, rand: float) -> None:
    assert delay(attempts(random=lambda: rand), BusError("x", "limit", asked)) >= asked


def test_backoff_spares_a_server_that_refuses_the_credentials() -> None:
    failed = attempts(random=lambda: 0.0)
    delays = [delay(failed, BusError("x", "auth")) for _ in range(30)]
    # ntfy takes 30 wrong ones, and one more a minute.
    assert sum(delays[:10]) > 5
    assert delays[-1] >= 60


def test_polls_come_at_the_opening_and_again_when_the_seam_has_settled_and_then_seldom() -> None:
    schedule = Schedule(100.0)
    assert schedule.due() == 100.0
    schedule.polled(100.0)
    assert schedule.due() == 100.0 + SETTLE_SECONDS
    schedule.polled(100.0 + SETTLE_SECONDS)
    assert schedule.due() == 100.0 + SETTLE_SECONDS + IDLE_SECONDS


def test_a_first_poll_that_comes_late_needs_no_second() -> None:
    schedule = Schedule(100.0)
    schedule.failed(103.0)
    assert schedule.due() == 103.0
    schedule.polled(103.0)
    assert schedule.due() == 103.0 + IDLE_SECONDS


def test_a_poll_that_is_asked_for_during_another_follows_it() -> None:
    schedule = Schedule(100.0)
    schedule.at_once(100.5)
    schedule.polled(100.0)
    assert schedule.due() == 100.5
    schedule.polled(101.0)
    assert schedule.due() == 100.0 + SETTLE_SECONDS


@given(st.lists(st.floats(0.001, 30), min_size=1, max_size=60))
def test_live_traffic_is_confirmed_after_a_quiet_moment_seldom_and_surely(pauses: list[float]) -> None:
    schedule = Schedule(0.0)
    schedule.polled(SETTLE_SECONDS)
    now, last_poll, first_live = SETTLE_SECONDS, SETTLE_SECONDS, None
    for pause in pauses:
        arrives = now + pause
        while (due := schedule.due()) <= arrives:
            assert due >= last_poll + CONFIRM_SECONDS
            assert first_live is not None
            assert due <= max(first_live + BUSY_SECONDS, last_poll + CONFIRM_SECONDS)
            # Either it was quiet, or there was no quiet moment for long.
            assert due >= min(now + SETTLE_SECONDS, first_live + BUSY_SECONDS)
            schedule.polled(due)
            last_poll = due
            if due >= now + SETTLE_SECONDS:
                first_live = None
        now = arrives
        schedule.live(now)
        first_live = now if first_live is None else first_live
    assert schedule.due() <= max(now + SETTLE_SECONDS, last_poll + CONFIRM_SECONDS)


class Plain:
    """A byte stream that is no socket, as a channel is: two pipes would do, a socket inside is simplest."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.closed = 0

    def sendall(self, data: bytes, /) -> None:
        self._sock.sendall(data)

    def recv(self, size: int, /) -> bytes:
        return self._sock.recv(min(size, 7))

    def settimeout(self, seconds: float | None, /) -> None:
        self._sock.settimeout(seconds)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self.closed += 1
        self._sock.close()


def test_a_stream_that_is_no_socket_serves_as_one() -> None:
    with ScriptedServer(answer(b'{"id":"a","time":1}'), answer(b'{"healthy":true}')) as server:
        streams: list[Plain] = []

        def dial() -> Plain:
            streams.append(Plain(socket.create_connection(("127.0.0.1", server.port))))
            return streams[-1]

        client = BusClient("any name", dial=dial)
        assert client.publish("topic", "x" * 10_000).id == "a"
        assert client.health()
        assert [stream.closed > 0 for stream in streams] == [True, True]
        assert server.requests[0].endswith(b"x" * 10_000)


def test_an_answer_is_read_even_if_the_stream_broke_while_sending() -> None:
    class Refusing(Plain):
        def sendall(self, data: bytes, /) -> None:
            if b"HTTP/1.1" not in data:
                raise OSError("Socket is closed")
            super().sendall(data.replace(b"Content-Length: 10000", b"Content-Length: 0"))

    with ScriptedServer(answer(b"", status="413 Too Large")) as server:

        def dial() -> Plain:
            return Refusing(socket.create_connection(("127.0.0.1", server.port)))

        with pytest.raises(BusError) as caught:
            BusClient("relay", dial=dial).publish_file("topic", b"x" * 10_000, "clip.dat", "{}")
    assert caught.value.kind == "size"


def test_a_wrapped_stream_stays_open_until_its_files_are_closed() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = Plain(ours)
        sock = as_socket(stream)
        file = sock.makefile("rb")
        sock.close()
        theirs.sendall(b"still here\n")
        assert file.readline() == b"still here\n"
        assert stream.closed == 0
        file.close()
        assert stream.closed == 1


def test_a_cutter_wakes_a_reader_and_refuses_what_comes_later() -> None:
    ours, theirs = socket.socketpair()
    cutter = Cutter(once=True)
    cutter.add(ours, ours)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(ours.recv(10)), daemon=True)
    reader.start()
    cutter.cut()
    reader.join(20)
    assert got == [b""]
    with pytest.raises(ConnectionAbortedError):
        cutter.add(theirs, theirs)
    assert theirs.recv(1) == b""
    ours.close()
    theirs.close()


def test_a_cutter_leaves_connections_alone_that_were_forgotten_or_replaced() -> None:
    first, first_end = socket.socketpair()
    second, second_end = socket.socketpair()
    cutter = Cutter()
    owner = object()
    cutter.add(owner, first)
    cutter.add(owner, second)
    cutter.cut()
    first.sendall(b"x")
    assert first_end.recv(1) == b"x"
    assert second_end.recv(1) == b""
    cutter.add(owner, first)
    cutter.forget(owner)
    cutter.cut()
    first.sendall(b"y")
    assert first_end.recv(1) == b"y"
    for sock in (first, first_end, second, second_end):
        sock.close()


def test_what_is_longer_than_a_message_has_its_payload_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client = BusClient("http://127.0.0.1:9")
    taken: list[str] = []
    monkeypatch.setattr(client, "publish", lambda *_: taken.append("message"))
    monkeypatch.setattr(client, "publish_file", lambda *_: taken.append("file"))
    body = b"x" * 2900
    room = MESSAGE_LIMIT - len(wire.encode(wire.Envelope("clip-write", "", "text/plain", body, "1"))) + 1
    for length in (room, room + 1):
        client.publish_envelope("t", wire.Envelope("clip-write", "", "text/plain", body, "1" * length))
    assert taken == ["message", "file"]


@pytest.mark.real
def test_a_stream_may_be_silent_for_90_seconds(door: Door, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    set_timeout = Cutter.set_timeout

    def note(self: Cutter, seconds: float) -> None:
        given.append(seconds)
        set_timeout(self, seconds)

    monkeypatch.setattr(Cutter, "set_timeout", note)
    with door.client().stream(topic):
        assert given == [DEAD_AFTER]


@pytest.mark.real
def test_publishing_and_streaming_leave_no_descriptors_behind(door: Door, topic: str) -> None:
    import psutil

    client = door.client()

    def once() -> None:
        client.publish(topic, "x")
        with client.stream(topic) as stream:
            assert next(iter(stream)).kind == "open"
        client.poll(topic, None)
        client.close()

    once()
    before = psutil.Process().num_fds()
    for _ in range(5):
        once()
    assert psutil.Process().num_fds() <= before
