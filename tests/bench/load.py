"""Clients that cost as little as possible beside the server that is measured: raw sockets, whole answers.

`python -m tests.bench.load ADDRESS TOPIC COUNT` publishes, as a process of its own, from the moment its stdin ends. An
address is a port on loopback, or the path of a unix socket: each server is reached as nssh reaches it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 120.0
BODY = b'{"kind":"open","url":"https://example.com/%s"}' % (b"x" * 80)


def _connect(address: str) -> socket.socket:
    if address.isdigit():
        sock = socket.create_connection(("127.0.0.1", int(address)), _TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_TIMEOUT)
        sock.connect(address)
    return sock


class Publisher:
    """One kept connection that publishes small messages."""

    def __init__(self, address: str, topic: str, body: bytes = BODY) -> None:
        self._socket = _connect(address)
        head = f"POST /{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}"
        self._request = head.encode() + b"\r\n\r\n" + body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def publish(self) -> bytes:
        """Publish one message; return the answer's last bytes.

        Raises:
            ConnectionError: It was not accepted.
        """
        self._socket.sendall(self._request)
        data = b""
        while not data.endswith((b"}\n", b"0\r\n\r\n")):
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionError("the server hung up")
            data += piece
        if not data.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(data[:300].decode("utf-8", "replace"))
        return data


class Subscriber:
    """One live stream."""

    def __init__(self, address: str, topic: str) -> None:
        """Open it, and wait for its `open` event.

        Raises:
            ConnectionError: The server refuses.
        """
        self.socket = _connect(address)
        self.socket.sendall(f"GET /{topic}/json HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = self.wait(b'"event":"open"')
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head[:300].decode("utf-8", "replace"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def wait(self, wanted: bytes, count: int = 1) -> bytes:
        """Read until something has come so many times; return what came.

        Raises:
            ConnectionError: The stream ended.
        """
        found, tail, data = 0, b"", b""
        while found < count:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise ConnectionError(f"the stream ended: {data[-300:]!r}")
            # What straddles two pieces is found once: the tail is shorter than what is looked for.
            found += (tail + piece).count(wanted)
            tail = (tail + piece)[-(len(wanted) - 1) :]
            data = (data + piece)[-65536:]
        return data


def poll(address: str, topic: str) -> tuple[float, int]:
    """Fetch all messages of a topic; return the seconds and how many there were."""
    begun = time.monotonic()
    with _connect(address) as sock:
        sock.sendall(
            f"GET /{topic}/json?poll=1&since=all HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        pieces = []
        while piece := sock.recv(1 << 20):
            pieces.append(piece)
    return time.monotonic() - begun, b"".join(pieces).count(b'"event":"message"')


def publish_many(address: str, topic: str, clients: int, count: int) -> float:
    """Publish `count` messages from so many processes at once; return messages per second, all of them accepted."""
    each = count // clients
    argv = [sys.executable, "-m", "tests.bench.load", address, topic, str(each)]
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(clients)
        ]
        for process in running:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("a client did not start")
        begun = time.monotonic()
        for process in running:
            assert process.stdin is not None
            process.stdin.close()
        if any([process.wait() for process in running]):  # noqa: C419 - all of them are waited for
            raise RuntimeError("a client failed")
        seconds = time.monotonic() - begun
    return clients * each / seconds


@contextlib.contextmanager
def listeners(address: str, count: int) -> Iterator[None]:
    """Keep so many idle streams open, each with a topic of its own."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            stack.enter_context(Subscriber(address, f"idle{number}"))
        yield


def main(address: str, topic: str, count: str) -> None:
    with Publisher(address, topic) as publisher:
        os.write(1, b"ready\n")
        sys.stdin.read()
        for _ in range(int(count)):
            publisher.publish()


if __name__ == "__main__":
    main(*sys.argv[1:])
