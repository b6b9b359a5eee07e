"""Ports of the laptop that stand for the remote's: real sockets on both sides, the way to the remote cut short."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from nssh.base.errors import ConnectError
from nssh.local.callback_finder import Callback
from nssh.local.callback_flow import QUIET
from nssh.local.callback_proxy import MOST_ALIKE, MOST_CARRIED, MOST_SILENT
from tests.lab.ports import has_ipv6
from tests.lab.tools import DEADLINE, wait_until
from tests.local.callback.stage import (
    ANSWER,
    REQUEST,
    Program,
    Remote,
    answer_once,
    ask,
    connect,
    is_free,
    needs_ipv6,
    read_all,
    read_head,
)

EIGHT_MIB = 8 << 20


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


# --- The end of a flow ------------------------------------------------------------------------------------------------


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
