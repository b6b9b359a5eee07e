"""Large payloads over links that are slow, silent or cut, and shims that are cancelled meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from tests.lab.waiting import until
from tests.remote.support import DEADLINE, TOPIC, Home

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

MIB = 1 << 20
SHORT = {"NSSH_TIMEOUT": "1"}


class SlowServer:
    """A bus on loopback that takes uploads and gives downloads piece by piece, and stops in the middle if told to.

    Args:
        pause: Seconds between two pieces of 64 KiB.
        stall_at: Bytes after which nothing moves any more.
        file: What the laptop's clipboard holds.
        answer_after: Seconds until the laptop answers a read.
        pending: Whether it says in between that it will.
    """

    def __init__(
        self, *, pause: float = 0.0, stall_at: int = 1 << 40, file: bytes = b"", answer_after: float = 0.0,
        pending: bool = False,
    ) -> None:  # fmt: skip
        self.received = 0
        self.sent = 0
        self.ended = threading.Event()
        self._pause, self._stall_at, self._file = pause, stall_at, file
        self._answer_after, self._pending = answer_after, pending
        self._asked: list[str] = []
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            # What lies in the system's buffers has not moved over any link.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE)
        with connection, contextlib.suppress(OSError):
            while not self._stop.is_set():
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(1)
                    if not piece:
                        return
                    head += piece
                lines = head.decode().split("\r\n")
                method, path, _ = lines[0].split(" ")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                if method == "GET":
                    self._file_to(connection) if path.startswith("/file/") else self._stream_to(connection)
                    return
                self._take(connection, int(headers["content-length"]), headers)

    def _take(self, connection: socket.socket, size: int, headers: dict[str, str]) -> None:
        body = b""
        left = size
        while left:
            if size > MIB:
                self._wait(self.received)
            piece = connection.recv(min(left, 64 << 10))
            if not piece:
                self.ended.set()
                return
            left -= len(piece)
            self.received += len(piece)
            body += piece[: 4096 - len(body)]
        message = headers.get("x-message") or body.decode("utf-8", "replace")
        answer = b'{"id":"abcdefabc"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        self._asked.append(json.loads(message)["id"])

    def _wait(self, moved: int) -> None:
        if moved >= self._stall_at:
            self._stop.wait(DEADLINE)
        else:
            self._stop.wait(self._pause)

    def _stream_to(self, connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"event":"open"}\n')
        until(lambda: self._asked or self._stop.is_set())
        if self._stop.is_set():
            return
        identity = self._asked[-1]
        end = time.monotonic() + self._answer_after
        while time.monotonic() < end and not self._stop.wait(0.2):
            if self._pending:
                self._say(connection, {"kind": "clip-read-pending", "id": identity})
        answer = {"kind": "clip-read-response", "mime": "image/png", "id": identity}
        self._say(connection, answer, {"name": "clip.png", "url": "http://x/file/abc.png", "size": len(self._file)})
        connection.recv(1)

    def _say(self, connection: socket.socket, envelope: dict[str, str], attachment: object = None) -> None:
        event = {"event": "message", "message": json.dumps(envelope), "attachment": attachment}
        connection.sendall(json.dumps(event).encode() + b"\n")

    def _file_to(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self._file))
        try:
            for start in range(0, len(self._file), 64 << 10):
                self._wait(self.sent)
                connection.sendall(self._file[start : start + (64 << 10)])
                self.sent += 64 << 10
        except OSError:
            self.ended.set()


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with Home() as home:
        home.infect()
        yield home


PASTE = ["xclip", "-sel", "c", "-o", "-t", "image/png"]
COPY = ["xclip", "-sel", "c", "-t", "image/png"]


def test_an_upload_that_moves_slowly_is_no_failure(home: Home) -> None:
    """It takes longer than any patience with silence."""
    with SlowServer(pause=0.12) as server:
        home.connect(server.url)
        began = time.monotonic()
        ran = home.run(*COPY, stdin=os.urandom(4 * MIB))
        assert (ran.status, ran.err) == (0, "")
        assert server.received == 4 * MIB
        assert time.monotonic() - began > 6.0


def test_a_download_that_moves_slowly_is_no_failure(home: Home) -> None:
    data = os.urandom(2 * MIB)
    with SlowServer(pause=0.1, file=data) as server:
        home.connect(server.url)
        ran = home.run(*PASTE, env=SHORT)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == data


@pytest.mark.parametrize("argv", [COPY, PASTE], ids=["upload", "download"])
def test_one_that_stands_still_is_given_up_with_one_line(argv: list[str], home: Home) -> None:
    with SlowServer(stall_at=MIB, file=bytes(8 * MIB)) as server:
        home.connect(server.url)
        began = time.monotonic()
        ran = home.run(*argv, stdin=bytes(8 * MIB))
        assert time.monotonic() - began < 20.0
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, b"", 1)


def test_an_answer_that_is_on_its_way_is_waited_for(home: Home) -> None:
    with SlowServer(answer_after=3.0, pending=True, file=b"late\0") as server:
        home.connect(server.url)
        assert home.run(*PASTE, env=SHORT).out == b"late\0"


def test_one_that_is_not_is_given_up_when_the_caller_wants(home: Home) -> None:
    with SlowServer(answer_after=20.0, file=b"too late") as server:
        home.connect(server.url)
        began = time.monotonic()
        ran = home.run(*PASTE, env=SHORT)
        assert time.monotonic() - began < 10.0
    assert (ran.status, ran.err) == (1, "xclip: the laptop did not answer within 1 s\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_cancelled_upload_stops(number: signal.Signals, home: Home) -> None:
    with SlowServer(pause=0.05) as server:
        home.connect(server.url)
        with (home.path / "large").open("wb") as large:
            large.truncate(32 * MIB)
        process = home.start(*COPY, str(home.path / "large"))
        until(lambda: server.received > MIB)
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE)
        assert (process.returncode, out, err) == (-number, b"", b"")
        assert server.ended.wait(DEADLINE)
        assert server.received < 16 * MIB
    assert [path.name for path in home.state.iterdir() if path.name.startswith(".payload")] == []


def test_a_download_stops_when_its_reader_has_gone(home: Home) -> None:
    with SlowServer(pause=0.02, file=bytes(32 * MIB)) as server:
        home.connect(server.url)
        read, write = os.pipe()
        process = subprocess.Popen(
            [home.bin / "xclip", *PASTE[1:]], env=home.env, stdout=write, stderr=subprocess.PIPE, cwd=home.path
        )
        os.close(write)
        until(lambda: server.sent > MIB)
        os.close(read)
        _, err = process.communicate(timeout=DEADLINE)
        assert (process.returncode, err) == (-signal.SIGPIPE, b"")
        assert server.ended.wait(DEADLINE)
        assert server.sent < 24 * MIB


def test_a_disk_without_room_is_one_line(home: Home) -> None:
    with SlowServer(file=bytes(8 * MIB)) as server:
        home.connect(server.url)
        limited = f"ulimit -f 512; exec {home.bin}/xclip {' '.join(PASTE[1:])}"
        done = subprocess.run(["/bin/sh", "-c", limited], env=home.env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"xclip: can't keep the laptop's clipboard in {home.state}: File too large\n"


def test_topic_and_payload_are_in_no_file_and_no_argument(home: Home) -> None:
    with SlowServer(pause=0.05) as server:
        home.connect(server.url)
        with (home.path / "secret").open("wb") as file:
            file.write(b"SECRET" * MIB)
        process = home.start(*COPY, str(home.path / "secret"))
        until(lambda: server.received > MIB)
        with open(f"/proc/{process.pid}/cmdline", "rb") as cmdline:
            assert TOPIC.encode() not in cmdline.read()
        for path in home.state.iterdir():
            if path.is_file():
                assert b"SECRETSECRET" not in path.read_bytes()
        process.kill()
        process.communicate(timeout=DEADLINE)
