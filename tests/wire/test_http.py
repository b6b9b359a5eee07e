"""The HTTP client against real sockets, where a hand-written peer says what a hostile or clumsy server would."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from nssh.wire import http
from nssh.wire.http import Client, Closed, HttpError, Timeout, Unreachable
from nssh.wire.line_stream import MAX_LINE
from tests.lab.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Peer = Callable[[socket.socket], None]

LIMIT = 20.0


class Server:
    """Accepts connections one after the other and lets `peer` play the server on each."""

    def __init__(self, peer: Peer, listener: socket.socket, url: str) -> None:
        self.url = url
        self.accepted = 0
        self._peer = peer
        self._listener = listener
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(LIMIT)
            with connection, contextlib.suppress(ConnectionError):
                self._peer(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def serving(peer: Peer) -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(peer, listener, f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield server
    finally:
        server.close()


def read_head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError
        data += piece
    return data


def saying(*parts: bytes) -> Peer:
    def peer(connection: socket.socket) -> None:
        read_head(connection)
        for part in parts:
            connection.sendall(part)

    return peer


def test_a_request_carries_token_headers_and_body() -> None:
    seen: list[bytes] = []

    def peer(connection: socket.socket) -> None:
        data = read_head(connection)
        while not data.endswith(b"hello"):
            data += connection.recv(100)
        seen.append(data)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok")

    with serving(peer) as server, Client(server.url + "/base/", token="tk_1") as client:
        answer = client.request("POST", "/topic?a=b", [("X-Message", "hi")], b"hello")
    assert (answer.status, answer.body, answer.headers["x-a"]) == (200, b"ok", "b")
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /base/topic?a=b HTTP/1.1"
    assert body == b"hello"
    for line in ("Authorization: Bearer tk_1", "Content-Length: 5", "X-Message: hi", "Host: " + server.url[7:]):
        assert line in lines


def test_a_connection_is_used_again_and_replaced_when_the_server_closed_it() -> None:
    closing = threading.Event()
    closed = threading.Event()

    def peer(connection: socket.socket) -> None:
        for _ in range(2):
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nT: x\r\n\r\n")
        closing.wait(LIMIT)
        connection.close()
        closed.set()

    with serving(peer) as server, Client(server.url) as client:
        assert [client.request("GET", "/").body for _ in range(2)] == [b"ok", b"ok"]
        assert server.accepted == 1
        closing.set()
        assert closed.wait(LIMIT)
        assert client.request("GET", "/").body == b"ok"
        assert server.accepted == 2


@pytest.mark.parametrize("path", ["/a b", "no-slash", "/\r\nX: y", "/é"])
def test_a_path_that_would_split_the_request_is_refused_without_being_shown(path: str) -> None:
    with pytest.raises(ValueError, match=r"^a request") as caught:
        Client("http://127.0.0.1:1").request("GET", path)
    assert path not in str(caught.value)


def test_a_header_that_would_split_the_request_is_refused() -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        Client("http://127.0.0.1:1").request("GET", "/", [("A", "b\r\nC: d")])


@pytest.mark.parametrize(
    "server", ["", "ftp://x", "http://", "http://h:0", "http://h:x", "http://u:p@h", "unix:x", "relay"]
)
def test_a_server_name_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(HttpError, match=r"^the server"):
        Client(server)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"", Closed, "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", HttpError, "does not speak HTTP"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", HttpError, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", HttpError, "malformed header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", HttpError, "malformed header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Closed, "before the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", HttpError, "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, HttpError, "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", HttpError, "malformed chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Closed, "before the end"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000, HttpError, "header that is too large"),
    ],
)
def test_a_broken_answer_is_one_clear_error(answer: bytes, error: type[HttpError], text: str) -> None:
    with serving(saying(answer)) as server, Client(server.url) as client:
        with pytest.raises(error, match=text) as caught:
            client.request("GET", "/secret_topic/json", limit=1000)
        assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_ends_in_a_timeout() -> None:
    done = threading.Event()

    def peer(connection: socket.socket) -> None:
        read_head(connection)
        done.wait(LIMIT)

    with serving(peer) as server, Client(server.url, timeout=0.05) as client:
        with pytest.raises(Timeout, match="does not answer"):
            client.request("GET", "/")
        done.set()


def test_nobody_listening_is_one_clear_error() -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=rf"^cannot reach http://127\.0\.0\.1:{port}: Connection refused$"):
        Client(f"http://127.0.0.1:{port}").connect()
    with pytest.raises(Unreachable, match=r"^cannot reach the nssh relay: it is not running$"):
        Client("unix:/nonexistent/relay.sock").connect()


def test_interim_answers_and_bodies_that_end_with_the_connection_are_understood() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200\r\n\r\nto the end"
    with serving(saying(answer)) as server, Client(server.url) as client:
        assert client.request("GET", "/").body == b"to the end"


BIG = b"\xa5" * (20 << 20)


def test_a_body_of_20_mib_arrives() -> None:
    received: list[int] = []

    def peer(connection: socket.socket) -> None:
        head, _, body = read_head(connection).partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(BIG) in head
        count = len(body)
        while count < len(BIG):
            count += len(connection.recv(1 << 20))
        received.append(count)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(peer) as server, Client(server.url) as client:
        assert client.request("PUT", "/t", body=BIG).status == 200
    assert received == [len(BIG)]


@pytest.mark.parametrize("keeps_open", [True, False])
def test_a_refusal_in_the_middle_of_a_body_is_read(*, keeps_open: bool) -> None:
    done = threading.Event()

    def peer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        if keeps_open:
            done.wait(LIMIT)
            return
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    with serving(peer) as server, Client(server.url) as client:
        answer = client.request("PUT", "/t", body=BIG)
        assert (answer.status, answer.body) == (413, b"no")
        done.set()


def test_lines_come_whole_however_they_were_cut() -> None:
    step = threading.Event()

    def peer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n6\r\n":1}\n\n\r')
        step.wait(LIMIT)
        connection.sendall(b'\n7\r\n{"b":2}\r\n1\r\n\n\r\n0\r\n\r\n')

    with serving(peer) as server:
        stream = Client(server.url).stream("/t/json")
        assert stream.line(monotonic() + LIMIT) == b'{"a":1}'
        with pytest.raises(Timeout):
            stream.line(monotonic() + 0.02)
        step.set()
        assert stream.line(monotonic() + LIMIT) == b'{"b":2}'
        assert stream.line(monotonic() + LIMIT) is None
        stream.close()


def test_an_expired_deadline_still_returns_what_has_arrived() -> None:
    with serving(saying(b"HTTP/1.1 200 OK\r\n\r\na\nb\n")) as server:
        stream = Client(server.url).stream("/t/json")
        assert stream.line(monotonic() + LIMIT) == b"a"
        assert stream.line(monotonic() - 1) == b"b"
        stream.close()


@pytest.mark.parametrize(
    ("rest", "error"),
    [(b'5\r\n{"a"', Closed), (b'5\r\n{"a":\r\n', Closed), (b"x\r\n", HttpError), (b"1\r\na\r\n0\r\n\r\n", Closed)],
)
def test_a_broken_stream_is_an_error_and_not_an_end(rest: bytes, error: type[HttpError]) -> None:
    with serving(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)) as server:
        stream = Client(server.url).stream("/t/json")
        with pytest.raises(error):
            stream.line(monotonic() + LIMIT)
        stream.close()


def test_a_line_without_end_is_refused() -> None:
    with serving(saying(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (MAX_LINE + 100_000))) as server:
        stream = Client(server.url).stream("/t/json")
        with pytest.raises(HttpError, match="a line of more than"):
            stream.line(monotonic() + LIMIT)
        stream.close()


def test_a_refused_stream_carries_the_answer() -> None:
    answer = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n\r\n{"code":40301}'
    with serving(saying(answer)) as server, Client(server.url) as client:
        with pytest.raises(http.StatusError, match="status 403") as caught:
            client.stream("/secret/json")
        assert caught.value.response.body == b'{"code":40301}'
        assert "secret" not in str(caught.value)


DEEP_SERVER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
os.chdir(sys.argv[1])
listener.bind("r.sock")
listener.listen()
print(flush=True)
connection = listener.accept()[0]
connection.recv(9999)
connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
"""


def test_a_unix_socket_in_a_deep_directory_is_reached() -> None:
    with tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp") as name:
        directory = Path(name, *["d" * 40] * 3)
        directory.mkdir(parents=True)
        with subprocess.Popen([sys.executable, "-c", DEEP_SERVER, str(directory)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with Client(f"unix:{directory}/r.sock") as client:
                assert client.request("GET", "/").status == 200
            assert process.wait(LIMIT) == 0
