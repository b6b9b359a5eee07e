"""The relay's endpoints answer as ntfy does (docs/ntfy.md)."""

from __future__ import annotations

import json
import time
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nssh.wire.http import Client, StatusError
from tests.relay.harness import LIMIT, Relay, accepted, refused, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

# unicode.IsSpace of Go, which ntfy trims with; Python's own idea of white space is wider.
GO_SPACE = "".join(chr(code) for code in [9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)])
GO_SPACE += "\u2028\u2029\u202f\u205f\u3000"
BIG = bytes(range(256)) * (8 << 12)


@pytest.fixture
def client(running: Relay) -> Iterator[Client]:
    with running.client() as made:
        yield made


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return "t" + format(hash(request.node.nodeid) & 0xFFFFFFFFFFFF, "x")


def test_a_message_is_answered_with_itself(client: Client, topic: str) -> None:
    before = int(time.time())
    response = client.request("POST", f"/{topic}", (), b"hello")
    answer = accepted(response)
    assert response.headers["content-type"] == "application/json"
    assert before <= answer["time"] <= time.time()
    assert answer["expires"] == answer["time"] + 12 * 3600
    assert len(answer["id"]) == 12
    assert answer["id"].isalnum()
    assert (answer["event"], answer["topic"], answer["message"], answer["subscribers"]) == (
        "message",
        topic,
        "hello",
        0,
    )
    polled = client.request("GET", f"/{topic}/json?poll=1")
    assert polled.headers["content-type"].startswith("application/x-ndjson")
    del answer["subscribers"]
    assert [json.loads(line) for line in polled.body.splitlines()] == [answer]


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"", (), "triggered"),
        (b" \r\n\xe2\x80\x83", (), "triggered"),
        (b"", [("X-Message", "from the header")], "from the header"),
        (b"body", [("X-Message", "header")], "body"),
        (b"\n a\r\n\tb\x00\x1b \xc2\xa0", (), "a\r\n\tb\x1b"),
        (b"x" * 4095, (), "x" * 4095),
        (b"", [("Message", "=?UTF-8?B?w6k=?= =?UTF-8?Q?=C3=A9?=")], "éé"),
        (b"", [("X-Message", "a\\nb")], "a\nb"),
    ],
)
def test_the_text_of_a_message(
    client: Client, topic: str, body: bytes, headers: list[tuple[str, str]], message: str
) -> None:
    assert accepted(client.request("PUT", f"/{topic}", headers, body))["message"] == message


def test_a_message_in_the_query_is_decoded(client: Client, topic: str) -> None:
    assert accepted(client.request("POST", f"/{topic}?message=a%20b+c%C3%A9%zz"))["message"] == "a b cé%zz"


@pytest.mark.parametrize(
    ("body", "headers", "name", "content_type", "message"),
    [
        (b"y" * 4096, (), "attachment.txt", "text/plain; charset=utf-8", "You received a file: attachment.txt"),
        (b"\xff\x00", (), "attachment.bin", "application/octet-stream", "You received a file: attachment.bin"),
        (BIG, [("Filename", "clip.dat"), ("X-Message", "{}")], "clip.dat", "application/octet-stream", "{}"),
        (
            b"\x89PNG\r\n\x1a\n..",
            [("X-Filename", "clip.png")],
            "clip.png",
            "image/png",
            "You received a file: clip.png",
        ),
        (
            b"<html>",
            [("Filename", '../../x"')],
            '../../x"',
            "text/plain; charset=utf-8",
            'You received a file: ../../x"',
        ),
        (b"", [("Filename", "empty")], "empty", "text/plain; charset=utf-8", "You received a file: empty"),
    ],
)
def test_an_attachment_comes_back_byte_for_byte(
    client: Client,
    topic: str,
    *,
    body: bytes,
    headers: list[tuple[str, str]],
    name: str,
    content_type: str,
    message: str,
) -> None:
    answer = accepted(client.request("PUT", f"/{topic}", headers, body))
    attachment = answer["attachment"]
    assert answer["message"] == message
    assert attachment["name"] == name
    assert attachment["type"] == content_type
    assert attachment.get("size", 0) == len(body)
    assert ("size" in attachment) == bool(body)
    path = "/file/" + attachment["url"].partition("/file/")[2]
    for variant in (path, path.partition(".")[0]):
        download = client.request("GET", variant, limit=30 << 20)
        assert download.status == 200
        assert download.body == body
        assert download.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/a.b", (404, 40401)),
        ("POST", "/" + "a" * 65, (404, 40401)),
        ("POST", "/", (404, 40401)),
        ("POST", "//t", (404, 40401)),
        ("POST", "/t/", (404, 40401)),
        ("POST", "/docs", (400, 40010)),
        ("GET", "/v1/json", (400, 40010)),
        ("GET", "/t", (404, 40401)),
        ("GET", "/a.b/json", (404, 40401)),
        ("DELETE", "/t", (404, 40401)),
        ("GET", "/t/json?since=1d", (400, 40008)),
        ("GET", "/t/json?poll=1&since=aaaaaaaaaaaaa", (400, 40008)),
        ("GET", "/file/AAAAAAAAAAAA", (404, 40401)),
        ("GET", "/file/../spool.db", (404, 40401)),
        ("GET", "/file/..%2f..%2fspool.db", (404, 40401)),
        ("GET", "/file/%2e%2e", (404, 40401)),
        ("GET", "/file/", (404, 40401)),
        ("GET", "/file/AAAAAAAAAAAA.png%00", (404, 40401)),
        ("GET", "/../../etc/passwd", (404, 40401)),
    ],
)
def test_refusals_carry_ntfy_s_codes(client: Client, method: str, path: str, expected: tuple[int, int]) -> None:
    answer = client.request(method, path)
    assert refused(answer) == expected
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["http"] == expected[0]
    assert accepted(client.request("GET", "/v1/health")) == {"healthy": True}


def test_a_stream_that_is_refused_is_no_stream(client: Client) -> None:
    with pytest.raises(StatusError, match="status 400"):
        client.stream("/t/json?since=soon")


def test_since_selects_what_a_poll_returns(running: Relay, topic: str) -> None:
    ids = [running.publish(topic, str(number).encode())["id"] for number in range(4)]
    other = running.publish(topic + "x", b"other")["id"]
    running.publish(topic, b"4")
    now = int(time.time())
    every = ["0", "1", "2", "3", "4"]
    for since, expected in {
        "": every,
        "all": every,
        "0": every,
        "none": [],
        "1": [],
        "latest": ["4"],
        ids[1]: ["2", "3", "4"],
        other: ["4"],
        "AAAAAAAAAAAA": every,
        str(now - 3600): every,
        str(now + 3600): [],
        "10m": every,
        "1h30m": every,
        "24h": every,
    }.items():
        assert texts(running.poll(topic, since)) == expected, since
    with running.client() as client:
        answer = client.request("GET", f"/{topic}/json", [("X-Poll", "yes"), ("X-Since", ids[2])])
        assert texts([json.loads(line) for line in answer.body.splitlines()]) == ["3", "4"]


def test_a_stream_opens_replays_and_follows(running: Relay, topic: str) -> None:
    running.publish(topic, b"before")
    with running.client() as client, running.client() as plain:
        stream = client.stream(f"/{topic}/json?since=all")
        fresh = plain.stream(f"/{topic}/json")
        deadline = monotonic() + LIMIT
        events = [json.loads(stream.line(deadline) or b"") for _ in range(2)]
        assert [event["event"] for event in events] == ["open", "message"]
        assert set(events[0]) == {"id", "time", "event", "topic"}
        assert json.loads(fresh.line(deadline) or b"")["event"] == "open"
        assert running.publish(topic, b"after")["subscribers"] == 2
        assert json.loads(stream.line(deadline) or b"")["message"] == "after"
        assert json.loads(fresh.line(deadline) or b"")["message"] == "after"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=6000))
def test_any_body_survives(running: Relay, body: bytes) -> None:
    with running.client() as client:
        answer = accepted(client.request("POST", "/any_body", (), body))
        if "attachment" in answer:
            assert client.request("GET", f"/file/{answer['id']}").body == body
        else:
            assert len(body) < 4096
            assert answer["message"] == (body.decode().strip(GO_SPACE).replace("\0", "") or "triggered")
