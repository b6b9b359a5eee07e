"""What a server may answer that no ntfy would: cut short, endless, malformed, dribbled; by scripted servers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import BusError
from nssh.bus.client import BusClient
from nssh.bus.messages import MAX_LINE
from tests.bus.answers import TOKEN, TOPIC, line, message, refused
from tests.lab.scripted import ScriptedServer, answer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    "script",
    [
        answer(b"<!doctype html>secret", kind="text/html"),
        answer(b'{"a":1}', kind="application/json"),
        answer(b"not json secret\n"),
        answer(b"[1,2]\n"),
        answer(b"[" * 200_000 + b"\n"),
        answer(b"\xff\xfe\n"),
        answer(b"x", headers="Content-Encoding: gzip\r\n"),
        b"SSH-2.0-OpenSSH_9.9 secret\r\n",
        b"HTTP/1.1 secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
    ],
    ids=range(12),
)
def test_what_is_no_ntfy_answer(script: bytes) -> None:
    with ScriptedServer(script) as server:
        client = BusClient(server.url, token=TOKEN)

        def follow() -> None:
            with client.stream(TOPIC) as stream:
                for _ in stream:
                    pytest.fail("there was no event")

        assert refused(lambda: client.poll(TOPIC, None)).kind in {"server", "unreachable"}
        assert refused(follow).kind in {"server", "unreachable"}
        assert refused(lambda: client.publish(TOPIC, "x")).kind in {"server", "unreachable"}


def test_malformed_headers_are_not_logged_with_the_url(capfd: pytest.CaptureFixture[str]) -> None:
    script = b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Type: application/x-ndjson\r\nContent-Length: 0\r\n\r\n"
    with ScriptedServer(script) as server, pytest.raises(BusError):
        BusClient(server.url).poll(TOPIC, None)
    assert TOPIC not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "script",
    [
        answer(message("a1") + message("a2"))[:-1],
        answer(message("a1"))[:-20],
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n"
        + message("a1")[:40],
        b"HTTP/1.1 200 OK",
        b"",
    ],
    ids=range(5),
)
def test_a_poll_that_is_cut_short_is_an_error_not_a_shorter_backlog(script: bytes) -> None:
    with ScriptedServer(script) as server:
        error = refused(lambda: BusClient(server.url).poll(TOPIC, None))
    assert error.retryable


@pytest.mark.parametrize("headers", ["", "Content-Length: 10\r\n", "Content-Length: 1000\r\n"])
def test_a_file_that_is_cut_short_is_found_out(headers: str) -> None:
    script = f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + b"x" * 9
    with ScriptedServer(script) as server:
        assert refused(lambda: BusClient(server.url).download("abc", size=10)).kind == "unreachable"


def test_a_limit_that_keeps_the_length_of_the_file() -> None:
    script = b'HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5000\r\n\r\n{"code":42905,"http":429}'
    with ScriptedServer(script) as server:
        error = refused(lambda: BusClient(server.url).download("abc", patience=0.05))
    assert error.kind == "limit"


def test_events_of_any_shape_are_left_out_one_by_one() -> None:
    odd = [
        line(event="message", id="../../x", message="x"),
        line(event="message", id="x" * 65, message="x"),
        line(event="message", id=7, message="x"),
        line(event="message", message="x"),
        line(event="message", id="okid", message=7),
        line(event="message", id="okid", message="x", time="now"),
        line(event="message", id="okid", message="x", time=1.5),
        line(event="message", id="okid", message="x", time=1 << 70),
        line(event="message", id="okid", message="x", time=True),
        line(event=["message"], id="okid", message="x"),
        line(event="message_delete", id="okid"),
        line(event="poll_request", id="okid"),
        b"\r\n",
        b"{}\n",
    ]
    good = message("good1") + b"".join(odd) + line(event="message", id="good2", message="x", attachment=[1])
    bad_attachment = {"name": ["x"], "size": -1, "expires": "never", "url": "http://secret/"}
    good += line(event="message", id="good3", attachment=bad_attachment)
    with ScriptedServer(answer(good)) as server:
        backlog = BusClient(server.url).poll(TOPIC, None)
    assert [(each.id, each.text) for each in backlog] == [("good1", "x"), ("good2", "x"), ("good3", "")]
    assert backlog[1].attachment is None
    assert backlog[2].attachment == ("", None, None)


def test_a_line_too_long_is_skipped() -> None:
    script = message("a1") + message("long", "x" * MAX_LINE) + message("a2")
    with ScriptedServer(answer(script)) as server:
        client = BusClient(server.url)
        assert [each.id for each in client.poll(TOPIC, None)] == ["a1", "a2"]


def test_an_endless_poll_is_cut_where_it_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nssh.bus.client.POLL_MAX", 100_000)
    monkeypatch.setattr("nssh.bus.client._POLL_LIMIT", 300_000)
    lines = [message(f"a{number}", "x" * 1000) for number in range(1000)]
    with ScriptedServer(answer(b"".join(lines)), answer(b" " * 400_000)) as server:
        client = BusClient(server.url)
        backlog = client.poll(TOPIC, None)
        assert not backlog.complete
        assert [each.id for each in backlog] == [f"a{number}" for number in range(len(backlog))]
        assert 90 <= len(backlog) <= 200
        # The same without a message that could serve as a cursor is an attack.
        assert refused(lambda: client.poll(TOPIC, None)).kind == "size"


def test_an_answer_that_only_the_end_of_the_connection_ends_may_have_been_longer() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
    with ScriptedServer(head + message("a1") + message("a2")[:-5]) as server:
        backlog = BusClient(server.url).poll(TOPIC, None)
    assert [each.id for each in backlog] == ["a1"]
    assert not backlog.complete


def test_a_kept_connection_that_closes_under_a_poll_is_replaced_but_a_publish_is_not_repeated() -> None:
    # Looks kept, and is closed when the second request is there.
    with ScriptedServer(answer(message("a1")), b"", answer(message("a2")), b"", b"") as server:
        client = BusClient(server.url)
        assert [each.id for each in client.poll(TOPIC, None)] == ["a1"]
        assert [each.id for each in client.poll(TOPIC, None)] == ["a2"]
        assert len(server.requests) == 3
        assert refused(lambda: client.publish(TOPIC, "x")).kind == "unreachable"
        assert len(server.requests) == 4


def test_an_error_inside_a_stream() -> None:
    script = line(event="open", id="o") + b'{"code":42903,"http":429,"error":"secret"}\n'
    with ScriptedServer(answer(script)) as server:

        def follow() -> None:
            with BusClient(server.url).stream(TOPIC) as stream:
                assert [event.kind for event in stream] == ["never", "ends"]

        error = refused(follow)
    assert error.kind == "limit"
    assert "subscriptions" in str(error)


def test_a_server_that_dribbles_does_not_hold_a_request_for_ever() -> None:
    pause = threading.Event()

    class Dribble(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
            while not pause.wait(0.02):
                yield b" "

    with ScriptedServer(b"") as server:
        server._scripts = [Dribble()]
        error = refused(lambda: BusClient(server.url, timeout=0.3).publish(TOPIC, "x"))
        pause.set()
    assert error.kind == "unreachable"
    assert "slow" in str(error)


def test_a_stream_of_another_length_brings_its_events_as_they_come() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n"
    script = [head, line(event="open", id="o") + message("a1")]
    with ScriptedServer(script, hold=True) as server, BusClient(server.url).stream(TOPIC) as stream:
        events = iter(stream)
        assert next(events).kind == "open"
        assert next(events).message is not None
