"""What a clumsy or hostile peer may send, and readers that stall: the relay answers, and goes on."""

from __future__ import annotations

import json
import re
import resource
import socket
import stat
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.relay.harness import LIMIT, Relay, accepted, eventually, refused

pytestmark = pytest.mark.real

MIB = 1 << 20


def exchange(relay: Relay, data: bytes) -> bytes:
    """Send `data`, end our side, and return all that comes back."""
    with relay.raw() as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused in the middle; the answer is there all the same
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def is_healthy(relay: Relay) -> bool:
    with relay.client() as client:
        return client.request("GET", "/v1/health").status == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v1/health\r\n\r\n", 400),
        (b"GET  /v1/health HTTP/1.1\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"G\x00T / HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/health HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400),
        (b"POST /t HTTP/1.1\r\nX-Message: a\x01b\r\n\r\n", 400),
        (b"POST /t HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /t HTTP/1.1\r\nContent-Length: \xd9\xa3\r\n\r\n", 400),
        (b"POST /t HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST /t HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400),
        (b"POST /t HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST /t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", 400),
        (b"POST /t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", 400),
        (b"GET /v1/health HTTP/1.1\r\nX: " + b"x" * (300 * 1024) + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * (300 * 1024), 431),
    ],
)
def test_malformed_requests_are_refused(running: Relay, data: bytes, status: int) -> None:
    answer = exchange(running, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"Connection: close" in answer
    assert is_healthy(running)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                b"GET ", b"POST ", b"/t", b"/t/json?poll=1", b"/file/", b" HTTP/1.1", b"\r\n", b"\n",
                b"Content-Length: ", b"5", b"Transfer-Encoding: chunked", b"0\r\n\r\n", b"\x00", b"\xff", b"%", b":",
                b"hello", b"Expect: 100-continue",
            ]
        )
        | st.binary(max_size=20),
        max_size=20,
    ).map(b"".join)
)  # fmt: skip
def test_any_bytes_are_answered_or_ended(running: Relay, data: bytes) -> None:
    answer = exchange(running, data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in answer


def test_no_traceback_was_logged(running: Relay) -> None:
    assert is_healthy(running)
    assert (running.state / "stderr").read_text() == ""


def test_requests_may_be_pipelined_chunked_and_announced(running: Relay) -> None:
    answer = exchange(
        running,
        b"POST /pipe HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
        b"\r\nPOST /pipe HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nfg"
        b"POST /nowhere/ HTTP/1.1\r\nContent-Length: 2\r\n\r\nxx"
        b"GET /v1/health HTTP/1.1\r\n\r\n",
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"100", b"200", b"404", b"200"]
    assert [event["message"] for event in running.poll("pipe")] == ["abcde", "fg"]


def test_an_http_1_0_peer_gets_no_chunks(running: Relay) -> None:
    running.publish("old", b"x")
    head, _, body = exchange(running, b"GET /old/json?poll=1 HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert json.loads(body)["message"] == "x"


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % (65 * MIB), b"Transfer-Encoding: chunked"])
def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(running: Relay, framing: bytes) -> None:
    head = b"PUT /large HTTP/1.1\r\nFilename: x\r\n" + framing + b"\r\n\r\n"
    body = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB) if b"chunked" in framing else b"x" * MIB
    answer = exchange(running, head + body * 65)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 41301
    assert running.poll("large") == []


def test_a_file_of_20_mib_is_accepted(running: Relay) -> None:
    with running.client() as client:
        answer = accepted(client.request("PUT", "/largest", [("Filename", "x")], b"\xa5" * (20 * MIB)))
        assert answer["attachment"]["size"] == 20 * MIB


def test_an_upload_that_breaks_off_leaves_nothing(running: Relay) -> None:
    files = running.state / "relay/files"
    before = set(files.iterdir())
    with running.raw() as connection:
        connection.sendall(b"PUT /broken HTTP/1.1\r\nFilename: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50000)
        eventually(lambda: set(files.iterdir()) - before, "the upload did not begin")
    eventually(lambda: set(files.iterdir()) == before, "the part was not removed")
    assert running.poll("broken") == []


def test_a_stalled_reader_holds_up_nobody_and_costs_no_memory(running: Relay) -> None:
    assert running.process is not None
    status = Path(f"/proc/{running.process.pid}/status")

    def resident() -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
        assert found
        return int(found[1])

    with running.raw() as stalled, running.client() as reading, running.client() as client:
        stalled.sendall(b"GET /stalled/json HTTP/1.1\r\n\r\n")
        stream = reading.stream("/stalled/json")
        assert stream.line(monotonic() + LIMIT)
        accepted(client.request("POST", "/stalled", (), b"first"))
        before = resident()
        text = "m" * 60_000
        for _ in range(400):  # 24 MB, far more than the sockets hold
            accepted(client.request("POST", "/stalled", [("X-Message", text)]))
        for _ in range(401):
            assert stream.line(monotonic() + LIMIT)
        assert resident() - before < 12 * 1024


def test_a_subscriber_that_leaves_is_noticed_at_once(running: Relay) -> None:
    assert running.process is not None
    tasks = Path(f"/proc/{running.process.pid}/task")
    eventually(lambda: len(list(tasks.iterdir())) == 1, "an earlier test's connection is still served")
    with running.client() as client:
        stream = client.stream("/leaving/json")
        assert stream.line(monotonic() + LIMIT)
        assert running.publish("leaving", b"x")["subscribers"] == 1
    # Without a publish: that would find the peer gone by itself, but only after counting it.
    eventually(lambda: len(list(tasks.iterdir())) == 1, "the stream is still served")
    assert running.publish("leaving", b"x")["subscribers"] == 0


def test_more_connections_than_allowed_are_refused_and_the_rest_served(relay: Relay) -> None:
    relay.serve()
    crowd = [relay.raw() for _ in range(210)]
    try:
        for connection in crowd[200:]:
            assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
        crowd[0].sendall(b"GET /v1/health HTTP/1.1\r\n\r\n")
        assert crowd[0].recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        for connection in crowd:
            connection.close()
    eventually(lambda: is_healthy(relay), "no connection became free")


def test_a_full_disk_is_said_and_nothing_is_half_stored(relay: Relay) -> None:
    limit = 2 * MIB
    relay.serve(limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    with relay.client() as client:
        for _ in range(2):
            assert refused(client.request("PUT", "/t", [("Filename", "x")], b"x" * (3 * MIB))) == (507, 50701)
        assert list((relay.state / "relay/files").iterdir()) == []
        count = 0
        while True:
            answer = client.request("POST", "/t", [("X-Message", "m" * 60_000)])
            if answer.status != 200:
                break
            count += 1
            assert count < 1000
        assert refused(answer) == (507, 50701)
        assert "disk" in json.loads(answer.body)["error"]
        assert str(relay.state) not in answer.body.decode()
    assert len(relay.poll("t")) == count
    relay.end()
    relay.serve()
    assert len(relay.poll("t")) == count
    relay.publish("t", b"there is room again")


def test_everything_is_private(relay: Relay) -> None:
    assert relay.run("start").returncode == 0
    relay.publish("t", b"x", ("Filename", "a"))
    for path in [relay.state, *relay.state.rglob("*")]:
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize(
    "name", ["relay", "relay/files", "relay/spool.db", "relay/lock", "relay/relay.log", "relay.sock"]
)
def test_a_symlink_in_the_state_directory_is_not_followed(relay: Relay, name: str) -> None:
    target = relay.state / "elsewhere"
    target.mkdir(mode=0o700)
    if name not in {"relay", "relay/files"}:
        target /= "file"
        target.write_text("precious")
    link = relay.state / name
    link.parent.mkdir(mode=0o700, exist_ok=True)
    link.symlink_to(target)
    result = relay.run("start")
    assert result.returncode == 1
    assert result.stderr.startswith("nssh relay: ")
    assert result.stderr.count("\n") == 1
    assert link.is_symlink()
    if target.is_file():
        assert target.read_text() == "precious"
    else:
        assert list(target.iterdir()) == []
