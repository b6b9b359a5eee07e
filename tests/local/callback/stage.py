"""The two sides of a callback: a program on the remote, a browser here, and the way between them cut short."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

import pytest

from nssh.base.errors import ConnectError
from nssh.local.callback_flow import FlowEnded, FlowSucceeded
from nssh.local.callback_proxy import CallbackProxy
from nssh.ssh._streams import SocketStream
from tests.lab.ports import has_ipv6
from tests.lab.tools import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


REQUEST = b"GET /callback?code=secret HTTP/1.1\r\nHost: localhost\r\n\r\n"


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Program:
    """What waits for the callback on the remote: answers each connection by `serve`, and counts them."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            self._serve(peer)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def read_head(peer: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        data = peer.recv(65536)
        if not data:
            break
        head += data
    return head


def answer_with(answer: bytes) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(answer)

    return serve


def answer_once(peer: socket.socket) -> None:
    head = read_head(peer)
    status = b"200 OK" if b" /callback" in head or b" /?" in head else b"404 Not Found"
    peer.sendall(ANSWER.replace(b"200 OK", status))


class Remote:
    """The way to the remote: a port there is a program here, or refused."""

    def __init__(self) -> None:
        self.hands = Hands()
        self.programs: dict[int, Program] = {}
        self.dialled: list[tuple[tuple[str, ...], int]] = []
        self.ended: list[FlowEnded] = []
        self.succeeded: list[int] = []
        self.failure: Exception | None = None
        self.gate: threading.Event | None = None
        self.proxy = CallbackProxy(self.dial, self.note, clock=self.hands)
        self.crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.proxy.run()
        except BaseException as error:  # noqa: BLE001, the test looks at it
            self.crash = error

    def note(self, news: FlowSucceeded | FlowEnded) -> None:
        if isinstance(news, FlowEnded):
            self.ended.append(news)
        else:
            self.succeeded.append(news.port)

    def dial(self, addresses: Sequence[str], port: int) -> SocketStream:
        self.dialled.append((tuple(addresses), port))
        if self.gate is not None:
            self.gate.wait(DEADLINE)
        if self.failure is not None:
            raise self.failure
        program = self.programs.get(port)
        try:
            sock = socket.create_connection(program.address if program else ("127.0.0.1", 1), DEADLINE)
        except OSError:
            raise ConnectError(f"nothing listens on port {port} of devbox", "refused") from None
        return SocketStream(sock, None, lambda: None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.close()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        for program in self.programs.values():
            program.end()

    def run(self, port: int, serve: Callable[[socket.socket], None] = answer_once) -> Program:
        self.programs[port] = Program(serve)
        return self.programs[port]

    def advance(self, seconds: float) -> None:
        self.hands.now += seconds
        self.proxy.poke()

    def wait_ended(self, reason: str) -> FlowEnded:
        wait_until(lambda: self.ended, "a flow ends")
        assert self.ended[0].reason == reason
        return self.ended[0]


def held() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("callback")}


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), DEADLINE)


def ask(port: int, request: bytes = REQUEST, host: str = "127.0.0.1") -> bytes:
    with connect(port, host) as client:
        client.sendall(request)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    data = bytearray()
    while part := client.recv(1 << 16):
        data += part
    return bytes(data)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    try:
        connect(port, host).close()
    except ConnectionRefusedError:
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
