"""The link with delay that other tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.proxy import DelayProxy
from tests.local.scripts import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = 0.05


@pytest.fixture
def echo() -> Iterator[int]:
    """An echo server that greets first; yields its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client:
            try:
                client.sendall(b"hello\n")
                while data := client.recv(1 << 18):
                    client.sendall(data)
            except OSError:
                return  # the link was cut

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return  # closed at the end
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(server.getsockname()[1])
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def receive(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (part := client.recv(size - len(data))):
        data += part
    return bytes(data)


def greeting(port: int) -> bytes:
    with connect(port) as client:
        return client.recv(1)


def echo_until_it_stops(client: socket.socket) -> None:
    for _ in range(1000):
        client.sendall(b"x")
        client.recv(1)


def test_each_direction_takes_the_delay_and_the_handshake_a_round_trip(echo: int) -> None:
    with DelayProxy("127.0.0.1", echo, delay=DELAY) as link, connect(link.port) as client:
        begun = time.monotonic()
        client.sendall(b"x")
        assert receive(client, 6) == b"hello\n"
        assert time.monotonic() - begun >= 2 * DELAY * 0.9
        assert receive(client, 1) == b"x"
        assert time.monotonic() - begun >= 4 * DELAY * 0.9
        begun = time.monotonic()
        client.sendall(b"y")
        assert receive(client, 1) == b"y"
        assert time.monotonic() - begun >= 2 * DELAY


def test_what_goes_through_is_whole_in_order_and_not_slowed_by_the_distance(echo: int) -> None:
    data = os.urandom(16 << 20)
    with DelayProxy("127.0.0.1", echo, delay=DELAY) as link, connect(link.port) as client:
        receive(client, 6)
        begun = time.monotonic()

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        assert receive(client, len(data)) == data
        assert client.recv(1) == b""
        # With one chunk a round trip (stop and wait, 256 KiB) it would be 64 of them.
        assert time.monotonic() - begun < 64 * 2 * DELAY


def test_a_frozen_link_delivers_nothing_and_after_the_thaw_everything(echo: int) -> None:
    with DelayProxy("127.0.0.1", echo) as link, connect(link.port) as client, connect(link.port) as other:
        receive(client, 6)
        receive(other, 6)
        link.freeze()
        client.sendall(b"late")
        with connect(link.port) as newcomer:
            for each in (client, newcomer):
                each.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    each.recv(1)
                each.settimeout(60)
            assert link.connections == 3
            link.thaw()
            assert receive(client, 4) == b"late"
            assert receive(newcomer, 6) == b"hello\n"


def test_a_cut_resets_what_is_there_and_takes_new_connections(echo: int) -> None:
    with DelayProxy("127.0.0.1", echo) as link:
        with connect(link.port) as client:
            receive(client, 6)
            link.cut()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert link.connections == 0
        with connect(link.port) as client:
            assert receive(client, 6) == b"hello\n"
        assert link.accepted == 2


def test_a_target_that_refuses_resets_the_client() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with DelayProxy("127.0.0.1", unused.getsockname()[1]) as link:
            with pytest.raises(ConnectionResetError):  # as early as in connect, if the link is quick
                greeting(link.port)
            wait_for(lambda: (link.accepted, link.connections) == (1, 0), "the link forgot the client")


def test_datagrams_take_the_delay_and_are_lost_while_frozen() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for each in (server, client):
            each.bind(("127.0.0.1", 0))
            each.settimeout(60)
        with DelayProxy("127.0.0.1", server.getsockname()[1], delay=DELAY, udp=True) as link:
            begun = time.monotonic()
            client.sendto(b"one", ("127.0.0.1", link.port))
            data, back = server.recvfrom(100)
            server.sendto(data + b" back", back)
            assert client.recvfrom(100)[0] == b"one back"
            assert time.monotonic() - begun >= 2 * DELAY
            link.freeze()
            client.sendto(b"lost", ("127.0.0.1", link.port))
            server.settimeout(0.3)
            with pytest.raises(TimeoutError):
                server.recvfrom(100)
            server.settimeout(60)
            link.thaw()
            client.sendto(b"two", ("127.0.0.1", link.port))
            assert server.recvfrom(100) == (b"two", back)
            link.cut()
            client.sendto(b"three", ("127.0.0.1", link.port))
            data, roamed = server.recvfrom(100)
            assert (data, roamed != back) == (b"three", True)


def test_the_command_prints_its_port_obeys_signals_and_ends(echo: int) -> None:
    argv = [sys.executable, "-m", "tests.lab.proxy", "--to", f"127.0.0.1:{echo}", "--delay-ms", "1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with connect(int(process.stdout.readline())) as client:
                assert receive(client, 6) == b"hello\n"
                process.send_signal(signal.SIGUSR1)
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):  # the first ones may be answered before the signal is handled
                    echo_until_it_stops(client)
                client.settimeout(60)
                # Only now: two signals sent together may be handled in either order.
                process.send_signal(signal.SIGUSR2)
                assert receive(client, 1) == b"x"
                process.send_signal(signal.SIGHUP)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
