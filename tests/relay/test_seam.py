"""No seam: whatever is accepted reaches every stream once and in order, however often the stream is opened again."""

from __future__ import annotations

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from nssh.wire.http import Timeout
from tests.relay.harness import LIMIT, Relay, accepted, texts

pytestmark = pytest.mark.real

PUBLISHERS = 4
EACH = 250


def publish(relay: Relay, topic: str, worker: int) -> list[str]:
    with relay.client() as client:
        return [accepted(client.request("POST", f"/{topic}", (), b"%d-%d" % (worker, n)))["id"] for n in range(EACH)]


def follow_reconnecting(relay: Relay, topic: str, seed: int) -> list[str]:
    """Read a topic over many short-lived streams, each from where the last one was cut, until all is there."""
    chance = random.Random(seed)  # noqa: S311  (repeatable)
    seen: list[str] = []
    deadline = monotonic() + LIMIT
    while len(seen) < PUBLISHERS * EACH:
        assert monotonic() < deadline, f"{len(seen)} messages after {LIMIT} s"
        with relay.client() as client:
            stream = client.stream(f"/{topic}/json?since={seen[-1] if seen else 'all'}")
            for _ in range(chance.randrange(1, 80)):
                try:
                    line = stream.line(monotonic() + 0.2)
                except Timeout:
                    break
                assert line is not None
                event = json.loads(line)
                if event["event"] == "message":
                    seen.append(event["id"])
    return seen


def follow_once(relay: Relay, topic: str, since: str) -> list[str]:
    seen: list[str] = []
    with relay.client() as client:
        stream = client.stream(f"/{topic}/json{since}")
        while len(seen) < PUBLISHERS * EACH:
            event = json.loads(stream.line(monotonic() + LIMIT) or b"")
            if event["event"] == "message":
                seen.append(event["id"])
    return seen


def test_every_stream_gets_everything_once_and_in_order(running: Relay) -> None:
    topic = "seam"
    with ThreadPoolExecutor(16) as pool:
        readers = [pool.submit(follow_reconnecting, running, topic, seed) for seed in range(4)]
        publishers = [pool.submit(publish, running, topic, worker) for worker in range(PUBLISHERS)]
        late = [pool.submit(follow_once, running, topic, "?since=all") for _ in range(6)]
        orders = [publisher.result(60) for publisher in publishers]
        results = [reader.result(60) for reader in readers + late]
    expected = [event["id"] for event in running.poll(topic)]
    assert len(expected) == PUBLISHERS * EACH == len(set(expected))
    for result in results:
        assert result == expected
    for order in orders:
        assert [identity for identity in expected if identity in set(order)] == order


def test_a_stream_without_since_gets_everything_after_its_open_event(running: Relay) -> None:
    topic = "open"
    with running.client() as client, ThreadPoolExecutor(PUBLISHERS) as pool:
        stream = client.stream(f"/{topic}/json")
        assert json.loads(stream.line(monotonic() + LIMIT) or b"")["event"] == "open"
        publishers = [pool.submit(publish, running, topic, worker) for worker in range(PUBLISHERS)]
        seen = [json.loads(stream.line(monotonic() + LIMIT) or b"")["id"] for _ in range(PUBLISHERS * EACH)]
        for publisher in publishers:
            publisher.result(60)
    assert seen == [event["id"] for event in running.poll(topic)]


def test_polling_with_a_cursor_gets_everything_once(running: Relay) -> None:
    topic = "poll"
    seen: list[str] = []
    with ThreadPoolExecutor(PUBLISHERS) as pool:
        publishers = [pool.submit(publish, running, topic, worker) for worker in range(PUBLISHERS)]
        while not all(publisher.done() for publisher in publishers):
            seen += [event["id"] for event in running.poll(topic, seen[-1] if seen else "all")]
        for publisher in publishers:
            publisher.result(60)
    seen += [event["id"] for event in running.poll(topic, seen[-1] if seen else "all")]
    assert seen == [event["id"] for event in running.poll(topic)]


def test_topics_do_not_mix(running: Relay) -> None:
    for topic in ("one", "One", "one_"):
        running.publish(topic, topic.encode())
    for topic in ("one", "One", "one_"):
        assert texts(running.poll(topic)) == [topic]


def test_a_quiet_stream_is_kept_alive(relay: Relay) -> None:
    relay.serve("--keepalive", "0.1")
    with relay.client() as client:
        stream = client.stream("/t/json")
        events = [json.loads(stream.line(monotonic() + LIMIT) or b"") for _ in range(3)]
    assert [event["event"] for event in events] == ["open", "keepalive", "keepalive"]
    assert len({event["id"] for event in events}) == 3


def test_a_topic_has_its_limit(relay: Relay) -> None:
    relay.serve()
    batch = b"POST /t HTTP/1.1\r\nContent-Length: 1\r\n\r\nx" * 500
    with relay.raw() as connection, relay.client() as client:
        reader = connection.makefile("rb")
        for _ in range(40):
            connection.sendall(batch)
            for _ in range(500):
                assert reader.readline().startswith(b"HTTP/1.1 200")
                while not reader.readline().startswith(b"{"):
                    pass
        answer = client.request("POST", "/t", (), b"one too many")
        assert answer.status == 429
        assert json.loads(answer.body)["code"] == 42908
        accepted(client.request("POST", "/u", (), b"another topic"))
        assert len(relay.poll("t")) == 20_000


def test_an_idle_relay_sleeps(relay: Relay) -> None:
    """From a stream's open event to its first keepalive nothing happens, so that hardly a thread may run."""
    relay.serve("--keepalive", "6")
    assert relay.process is not None
    tasks = Path(f"/proc/{relay.process.pid}/task")

    def switches() -> int:
        statuses = "".join(path.read_text() for path in tasks.glob("*/status"))
        return sum(map(int, re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", statuses, re.MULTILINE)))

    with relay.client() as client, relay.client() as other:
        streams = [client.stream("/t/json"), other.stream("/u/json")]
        for stream in streams:
            assert stream.line(monotonic() + LIMIT)
        before = switches()
        for stream in streams:
            assert b"keepalive" in (stream.line(monotonic() + LIMIT) or b"")
        assert switches() - before <= 12
