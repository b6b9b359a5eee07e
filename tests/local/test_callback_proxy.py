"""Ports of the laptop that stand for the remote's: real sockets on both sides, the way to the remote cut short."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from nssh.errors import ConnectError
from nssh.local.callback import Callback, find_callbacks
from nssh.local.callback_flow import LONGEST, MOST_PATHS, QUIET, FlowEnded, FlowSucceeded
from nssh.local.callback_proxy import MOST_ALIKE, MOST_CARRIED, MOST_FLOWS, MOST_SILENT, CallbackProxy, Refusal
from nssh.ssh._streams import SocketStream
from tests.lab.tools import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REQUEST = b"GET /callback?code=secret HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"
EIGHT_MIB = 8 << 20


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


@pytest.fixture
def remote() -> Iterator[Remote]:
    gc.collect()
    before = held()
    with Remote() as made:
        yield made
    assert made.crash is None
    del made
    gc.collect()
    wait_until(lambda: held() <= before, "no thread is left", 10)


def held() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("callback")}


@pytest.fixture
def port() -> int:
    return free_port()


_given: set[int] = set()


def free_port() -> int:
    """Return a port that is free on both families, another one each time."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
            if port in _given:
                continue
            _given.add(port)
            with contextlib.suppress(OSError), socket.create_server(("::1", port), family=socket.AF_INET6):
                return port
            if not socket.has_ipv6:
                return port


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


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_a_callback_is_carried_whichever_address_the_browser_takes(remote: Remote, port: int, host: str) -> None:
    remote.run(port)
    assert remote.proxy.expect(Callback("localhost", port, "/callback")) is None
    assert ask(port, host=host) == ANSWER
    assert remote.dialled == [(("127.0.0.1", "::1"), port)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_address_that_was_named_is_the_one_on_the_remote(remote: Remote, port: int, host: str) -> None:
    remote.run(port)
    assert remote.proxy.expect(Callback(host, port, "/callback")) is None
    assert ask(port) == ANSWER
    assert remote.dialled == [((host,), port)]


def test_only_loopback_is_listened_on(remote: Remote, port: int) -> None:
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    listening = {
        one.laddr.ip
        for one in psutil.Process().net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port
    }
    assert listening == ({"127.0.0.1", "::1"} if has_ipv6() else {"127.0.0.1"})


def test_it_is_listened_on_once_expect_returns(port: int) -> None:
    remote = Remote()  # whose thread does not run yet
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    remote.run(port)
    with connect(port) as client:
        client.sendall(REQUEST)
        with remote:
            assert read_all(client) == ANSWER


def test_silent_connections_never_reach_the_remote(remote: Remote, port: int) -> None:
    program = remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    silent = [connect(port) for _ in range(10)]
    silent[0].close()
    assert ask(port) == ANSWER
    assert (program.connections, len(remote.dialled)) == (1, 1)
    with silent[1] as late:  # it was only early: whoever speaks in the end is heard
        late.sendall(REQUEST)
        assert read_all(late) == ANSWER
    for client in silent[2:]:
        client.close()


def test_of_too_many_silent_connections_the_oldest_is_hung_up_on(remote: Remote, port: int) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(port)) for _ in range(MOST_SILENT + 3)]
        for client in silent[:3]:
            assert client.recv(1) == b""
        assert ask(port) == ANSWER
        silent[-1].sendall(REQUEST)
        assert read_all(silent[-1]) == ANSWER


def test_a_request_may_come_in_pieces(remote: Remote, port: int) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(REQUEST)):
            client.sendall(REQUEST[at : at + 1])
        assert read_all(client) == ANSWER


@pytest.mark.parametrize(
    "words",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-x\r\n",
        b"\x00\x03\x00\x00user\x00me\x00",
        b"*1\r\n$4\r\nPING\r\n",
    ],
)
def test_what_is_no_request_never_reaches_the_remote(remote: Remote, port: int, words: bytes) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(words)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert remote.dialled == []
    assert ask(port) == ANSWER


def test_a_page_whose_name_is_made_to_mean_this_machine_reads_nothing(remote: Remote, port: int) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    answer = ask(port, REQUEST.replace(b"localhost", b"rebound.example:%d" % port))
    assert answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert remote.dialled == []
    assert ask(port) == ANSWER


def test_a_long_answer_of_a_provider_is_carried(remote: Remote, port: int) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    assert ask(port, REQUEST.replace(b"secret", b"s" * 20_000)) == ANSWER


def test_a_callback_by_tls_is_carried_as_it_is(remote: Remote, port: int) -> None:
    hello = b"\x16\x03\x01\x00\x05hello"
    remote.run(port, lambda peer: peer.sendall(peer.recv(100)[::-1]))
    remote.proxy.expect(Callback("localhost", port, "/callback", secure=True))
    assert ask(port, hello) == hello[::-1]


def test_a_browser_asks_for_its_icon_tries_again_and_keeps_its_connection(remote: Remote, port: int) -> None:
    def serve(peer: socket.socket) -> None:
        while head := read_head(peer):
            status = b"200 OK" if b"/callback" in head else b"404 Not Found"
            peer.sendall(b"HTTP/1.1 %s\r\nContent-Length: 4\r\n\r\nbody" % status)

    remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        for path in (b"/favicon.ico", b"/callback?code=1", b"/favicon.ico"):
            client.sendall(b"GET %s HTTP/1.1\r\n\r\n" % path)
            answer = b""
            while not answer.endswith(b"body"):
                answer += client.recv(1000)
            assert (b"200 OK" in answer) == (b"callback" in path)
        assert remote.dialled == [(("127.0.0.1", "::1"), port)]

        def ends() -> bool:
            remote.advance(
                QUIET + 1
            )  # whether or not the browser still holds it; again if the answer was just under way
            return bool(remote.ended)

        wait_until(ends, "a flow ends")
        remote.wait_ended("success")
        assert client.recv(1) == b""


def test_large_bodies_pass_both_ways(remote: Remote, port: int) -> None:
    body = os.urandom(EIGHT_MIB)

    def serve(peer: socket.socket) -> None:
        data = bytearray(read_head(peer).partition(b"\r\n\r\n")[2])
        while len(data) < EIGHT_MIB:
            data += peer.recv(1 << 16)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + data[::-1])

    remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    head = b"POST /callback HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % EIGHT_MIB
    assert ask(port, head + body).partition(b"\r\n\r\n")[2] == body[::-1]


def test_the_end_of_what_a_client_says_is_passed_on_and_the_answer_still_comes(remote: Remote, port: int) -> None:
    remote.run(port, lambda peer: peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n%d" % len(read_all(peer))))
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST + bytes(100_000))
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).endswith(b"%d" % (len(REQUEST) + 100_000))


def test_the_end_of_an_answer_is_passed_on_and_what_the_client_says_still_arrives(remote: Remote, port: int) -> None:
    heard: list[int] = []

    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(ANSWER)
        peer.shutdown(socket.SHUT_WR)
        heard.append(len(read_all(peer)))

    remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST)
        assert read_all(client) == ANSWER
        client.sendall(bytes(100_000))
    wait_until(lambda: heard == [100_000], "the rest arrives")


def test_a_client_that_goes_away_ends_its_connection_on_the_remote(remote: Remote, port: int) -> None:
    ended = threading.Event()

    def serve(peer: socket.socket) -> None:
        read_head(peer)
        with contextlib.suppress(OSError):
            read_all(peer)
        ended.set()

    remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    client = connect(port)
    client.sendall(REQUEST)
    wait_until(lambda: remote.dialled, "it is carried")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, as of a closed tab
    client.close()
    assert ended.wait(DEADLINE)


# --- Ports that can't be had ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [1, 80, 443, 1023])
def test_a_low_port_is_refused(remote: Remote, port: int) -> None:
    refusal = remote.proxy.expect(Callback("localhost", port, "/"))
    assert refusal is not None
    assert refusal.port == port
    assert "below 1024" in refusal.reason
    assert remote.proxy.ports() == set()


def test_a_taken_port_is_told(remote: Remote, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        for host in ("127.0.0.1", "localhost"):
            refusal = remote.proxy.expect(Callback(host, port, "/"))
            assert refusal == Refusal(port, "is taken on this machine")
    # Asked for once more when it is free, it is listened on.
    assert remote.proxy.expect(Callback("localhost", port, "/callback")) is None
    remote.run(port)
    assert ask(port) == ANSWER


@needs_ipv6
def test_the_other_family_is_listened_on_where_one_is_taken(remote: Remote, port: int) -> None:
    remote.run(port)
    with socket.create_server(("127.0.0.1", port)):
        assert remote.proxy.expect(Callback("localhost", port, "/callback")) is not None
        assert ask(port, host="::1") == ANSWER


@needs_ipv6
def test_a_family_that_nobody_named_may_be_taken(remote: Remote, port: int) -> None:
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        assert remote.proxy.expect(Callback("127.0.0.1", port, "/callback")) is None


def test_a_port_that_somebody_has_on_all_addresses_is_not_taken_away(remote: Remote, port: int) -> None:
    with socket.create_server(("", port)):
        assert remote.proxy.expect(Callback("127.0.0.1", port, "/callback")) is not None


def test_a_machine_without_one_family_has_the_other(remote: Remote, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nssh.local.callback_flow._LOOPBACK", {"127.0.0.1": socket.AF_INET, "::2": socket.AF_INET6})
    remote.run(port)
    assert remote.proxy.expect(Callback("localhost", port, "/callback")) is None
    assert ask(port) == ANSWER


def test_only_so_many_flows(remote: Remote) -> None:
    refusals = [remote.proxy.expect(Callback("localhost", free_port(), "/")) for _ in range(MOST_FLOWS + 1)]
    assert refusals[:-1] == [None] * MOST_FLOWS
    assert refusals[-1] is not None
    assert "under way" in refusals[-1].reason


def test_a_login_that_succeeded_makes_room(remote: Remote) -> None:
    ports = [free_port() for _ in range(MOST_FLOWS)]
    for number in ports:
        remote.run(number)
        assert remote.proxy.expect(Callback("localhost", number, "/callback")) is None
    for number in (ports[3], ports[7]):
        assert ask(number) == ANSWER
    assert remote.proxy.expect(Callback("localhost", free_port(), "/")) is None
    assert remote.wait_ended("success").port == ports[3]
    assert remote.proxy.expect(Callback("localhost", free_port(), "/")) is None
    assert remote.proxy.expect(Callback("localhost", free_port(), "/")) is not None
    wait_until(lambda: [end.port for end in remote.ended] == [ports[3], ports[7]], "the two that succeeded end")


def test_a_page_of_the_remote_makes_room(remote: Remote) -> None:
    """Programs that show a page each, and tell of no callback, keep no login from its port."""
    ports = [free_port() for _ in range(MOST_FLOWS + 1)]
    for number in ports:
        assert remote.proxy.expect(find_callbacks(f"http://localhost:{number}/")[0]) is None
    assert remote.wait_ended("timeout").port == ports[0]
    assert remote.proxy.expect(Callback("localhost", free_port(), "/callback")) is None
    wait_until(lambda: [end.port for end in remote.ended] == ports[:2], "the next one ends")


# --- The end of a flow ------------------------------------------------------------------------------------------------


def test_a_flow_ends_thirty_quiet_seconds_after_its_success(remote: Remote, port: int) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    assert ask(port) == ANSWER
    wait_until(lambda: remote.succeeded == [port], "it is told")
    remote.advance(QUIET - 1)
    assert ask(port, REQUEST.replace(b"/callback", b"/favicon.ico")).startswith(b"HTTP/1.1 404")
    remote.advance(QUIET - 1)
    assert not is_free(port)
    remote.advance(2)
    assert remote.wait_ended("success") == FlowEnded(port, "success", 2)
    wait_until(lambda: is_free(port), "the port is free")
    assert is_free(port, "::1")


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST.replace(b"/callback", b"/favicon.ico"),
        REQUEST.replace(b"/callback", b"/other"),
        REQUEST.replace(b"GET", b"OPTIONS"),
    ],
)
def test_what_is_no_callback_is_no_success(remote: Remote, port: int, request_: bytes) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    assert ask(port, request_)
    assert remote.succeeded == []
    remote.advance(QUIET + 1)
    assert ask(port) == ANSWER


def test_a_login_that_begins_on_the_remote_may_take_its_time_with_the_provider(remote: Remote, port: int) -> None:
    """As kubelogin's and tsh's: the browser is sent to the remote's own port, and from there to the provider."""
    remote.run(port, answer_with(b"HTTP/1.1 302 Found\r\nLocation: https://provider.example/\r\n\r\n"))
    (own,) = find_callbacks(f"http://localhost:{port}/")
    remote.proxy.expect(own)
    assert ask(port, REQUEST.replace(b"/callback?code=secret", b"/")).startswith(b"HTTP/1.1 302")
    remote.advance(QUIET + 1)
    remote.programs.pop(port).end()
    remote.run(port)
    assert ask(port) == ANSWER
    assert (remote.succeeded, remote.ended) == ([], [])


def test_a_flow_lasts_five_minutes_at_most_and_takes_its_connections_along(remote: Remote, port: int) -> None:
    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        read_all(peer)

    remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as talking, connect(port) as silent:
        talking.sendall(REQUEST.replace(b"/callback", b"/events"))
        assert talking.recv(100).startswith(b"HTTP/1.1 200")
        remote.advance(LONGEST - 1)
        assert remote.ended == []
        remote.advance(1)
        remote.wait_ended("timeout")
        assert talking.recv(1) == b""
        assert silent.recv(1) == b""
    assert is_free(port)


def test_a_flow_ends_when_the_remote_listens_no_more(remote: Remote, port: int) -> None:
    program = remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    assert ask(port) == ANSWER
    program.end()
    assert ask(port, REQUEST.replace(b"/callback", b"/favicon.ico")).startswith(b"HTTP/1.1 502")
    assert remote.wait_ended("closed").connections == 2
    wait_until(lambda: is_free(port), "the port is free")


def test_an_answer_on_its_way_arrives_though_the_remote_listens_no_more(remote: Remote, port: int) -> None:
    go_on = threading.Event()

    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(ANSWER[:20])
        go_on.wait(DEADLINE)
        peer.sendall(ANSWER[20:])

    program = remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST)
        assert client.recv(20) == ANSWER[:20]
        program.end()
        assert ask(port, REQUEST.replace(b"/callback", b"/favicon.ico")).startswith(b"HTTP/1.1 502")
        remote.wait_ended("closed")
        go_on.set()
        assert read_all(client) == ANSWER[20:]


def test_not_even_a_closed_flow_lasts_for_longer(remote: Remote, port: int) -> None:
    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(ANSWER[:20])
        read_all(peer)

    program = remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST)
        assert client.recv(20) == ANSWER[:20]
        program.end()
        ask(port)
        remote.wait_ended("closed")
        remote.advance(LONGEST)
        assert client.recv(1) == b""


def test_a_port_is_listened_on_again_right_after_its_flow(remote: Remote, port: int) -> None:
    def has_ended(times: int) -> bool:
        return len(remote.ended) == times

    for number in range(1, 4):
        program = remote.run(port)
        assert remote.proxy.expect(Callback("localhost", port, "/callback")) is None
        assert ask(port) == ANSWER
        program.end()
        ask(port)
        wait_until(functools.partial(has_ended, number), "the flow ends")


def test_a_second_callback_of_a_port_joins_the_first(remote: Remote, port: int) -> None:
    remote.run(port, answer_with(ANSWER))
    remote.proxy.expect(Callback("127.0.0.1", port, "/callback"))
    assert ask(port) == ANSWER
    remote.advance(LONGEST - 1)
    wait_until(lambda: remote.ended, "the first is over")
    remote.ended.clear()
    assert remote.proxy.expect(Callback("127.0.0.1", port, "/callback")) is None
    remote.advance(LONGEST - 1)
    assert remote.proxy.expect(Callback("::1", port, "/other")) is None
    remote.advance(LONGEST - 1)
    assert ask(port, REQUEST.replace(b"/callback", b"/other")) == ANSWER
    assert remote.dialled[-1] == (("127.0.0.1", "::1"), port)
    assert remote.ended == []
    remote.advance(2)
    remote.wait_ended("success")


def test_a_port_that_is_asked_for_without_end_does_not_grow(remote: Remote, port: int) -> None:
    remote.run(port)
    for number in range(MOST_PATHS + 9):
        remote.proxy.expect(Callback("localhost", port, f"/{number}"))
    assert len(remote.proxy._flows[port].paths) == MOST_PATHS
    assert ask(port).startswith(b"HTTP/1.1 200")


def test_several_flows_at_once(remote: Remote) -> None:
    ports = [free_port() for _ in range(4)]
    for number in ports:
        remote.run(number, answer_with(b"%d" % number))
        remote.proxy.expect(Callback("localhost", number, "/callback"))
    assert [ask(number) for number in ports] == [b"%d" % number for number in ports]


# --- A remote that can't be reached -----------------------------------------------------------------------------------


def test_a_browser_is_told_why_there_is_no_answer_and_nothing_of_what_it_asked(remote: Remote, port: int) -> None:
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    remote.failure = ConnectError("devbox: no route to host", "unreachable")
    answer = ask(port)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"no route to host" in answer
    assert b"secret" not in answer
    assert b"callback" not in answer
    remote.failure = None
    remote.run(port)
    assert ask(port) == ANSWER, "it was no reason to end the flow"


def test_a_program_that_is_about_to_listen_is_waited_for(remote: Remote, port: int) -> None:
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST)
        wait_until(lambda: len(remote.dialled) > 2, "it is tried again")
        remote.run(port)
        assert read_all(client) == ANSWER


def test_a_program_that_never_listened_may_still_come(remote: Remote, port: int) -> None:
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST)
        wait_until(lambda: remote.dialled, "it is tried")
        remote.advance(10)
        assert b"nothing listens on port" in read_all(client)
    remote.run(port)
    assert ask(port) == ANSWER
    assert remote.ended == []


def test_connections_beyond_the_limit_wait_their_turn(remote: Remote, port: int) -> None:
    remote.gate = threading.Event()
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    clients = [connect(port) for _ in range(MOST_CARRIED + 8)]
    for number, client in enumerate(clients):
        client.sendall(REQUEST.replace(b"secret", b"%d" % number))
    wait_until(lambda: len(remote.dialled) == MOST_CARRIED, "as many as may be are carried")
    time.sleep(0.2)  # for more, which must not come
    assert len(remote.dialled) == MOST_CARRIED
    remote.gate.set()
    for client in clients:
        with client:
            assert read_all(client) == ANSWER


def test_a_remote_that_is_this_machine_is_no_circle_without_end(remote: Remote, port: int) -> None:
    """As `nssh localhost` has it, when the program that waited is gone."""
    remote.proxy.expect(Callback("127.0.0.1", port, "/callback"))
    remote.programs[port] = Program(answer_once)
    remote.programs[port].address = ("127.0.0.1", port)
    answer = ask(port)
    assert answer.startswith(b"HTTP/1.1 502")
    assert b"nothing but nssh itself listens" in answer
    assert len(remote.dialled) == MOST_ALIKE


def test_closing_ends_everything_at_once(port: int) -> None:
    def serve(peer: socket.socket) -> None:
        read_head(peer)
        while True:
            peer.sendall(bytes(1 << 16))

    files = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    remote = Remote()
    with remote:
        program = remote.run(port, serve)
        remote.proxy.expect(Callback("localhost", port, "/callback"))
        with connect(port) as reading, connect(port) as stuck, connect(port):
            reading.sendall(REQUEST)
            stuck.sendall(REQUEST)
            assert reading.recv(100)
            wait_until(lambda: program.connections == 2, "both are carried")
            remote.proxy.close()
            assert is_free(port)
            with contextlib.suppress(ConnectionResetError):
                while reading.recv(1 << 16):
                    pass
            refusal = remote.proxy.expect(Callback("localhost", port, "/callback"))
            assert refusal is not None
            assert "the session ends" in refusal.reason
    del remote
    gc.collect()
    if files:
        wait_until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= files, "no descriptor is left")


def test_a_defect_in_a_carrier_is_not_kept_quiet(port: int) -> None:
    with Remote() as remote:
        remote.proxy.expect(Callback("localhost", port, "/callback"))
        remote.failure = ZeroDivisionError("a defect")
        with connect(port) as client:
            client.sendall(REQUEST)
            with contextlib.suppress(ConnectionResetError):
                assert read_all(client) == b""
        wait_until(lambda: remote.crash is not None, "it is told")
        assert isinstance(remote.crash, ZeroDivisionError)
        assert is_free(port)
