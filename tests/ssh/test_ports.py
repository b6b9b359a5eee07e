"""Reaching a port of the remote: three ways to the remote, each with and without an sshd that forwards."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from nssh.base.errors import ConnectError
from nssh.install import deploy
from nssh.ssh.ports import PortOpener
from tests.lab.sshd import DEADLINE, Sshd, wait_until
from tests.ssh.conftest import WAYS, connected, nothing_left, read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nssh.ssh.connection import Connection

pytestmark = pytest.mark.real

BOTH = ("127.0.0.1", "::1")


@pytest.fixture(scope="module")
def forwarding() -> Iterator[Sshd]:
    with Sshd() as sshd, connected("batch", sshd) as connection:
        deploy.infect(connection, host="devbox")
        yield sshd


@pytest.fixture(scope="module")
def barred() -> Iterator[Sshd]:
    """An sshd that forwards nothing, behind a shell that greets."""
    with Sshd(options=["AllowTcpForwarding no"]) as sshd, connected("batch", sshd) as connection:
        deploy.infect(connection, host="devbox")
        yield sshd


@pytest.fixture(params=["forwarding", "barred"])
def remote(request: pytest.FixtureRequest) -> Sshd:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Sshd)
    return found


@pytest.fixture(params=WAYS)
def connection(request: pytest.FixtureRequest, remote: Sshd) -> Iterator[Connection]:
    with connected(request.param, remote) as opened:
        yield opened


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], object], host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:

        def run() -> None:
            while True:
                try:
                    peer = server.accept()[0]
                except OSError:
                    return
                with contextlib.suppress(OSError), peer:
                    serve(peer)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)


def read_all(peer: socket.socket) -> bytes:
    data = bytearray()
    while part := peer.recv(1 << 16):
        data += part
    return bytes(data)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_is_reached_on_either_family_and_a_half_close_is_passed_on(connection: Connection, host: str) -> None:
    with serving(lambda peer: peer.sendall(b"%d" % len(read_all(peer))), host) as port:
        opener = PortOpener("devbox")
        for _ in range(2):
            channel = opener.open(connection, BOTH, port)
            channel.sendall(bytes(1 << 20))
            channel.send_eof()
            channel.settimeout(DEADLINE)
            assert read_exactly(channel.recv, 1000) == b"%d" % (1 << 20)
            channel.close()


def test_large_bodies_pass_both_ways_at_once(connection: Connection) -> None:
    def serve(peer: socket.socket) -> None:
        while data := peer.recv(1 << 16):
            peer.sendall(data)

    data = os.urandom(8 << 20)
    with serving(serve) as port:
        channel = PortOpener("devbox").open(connection, BOTH, port)

        def send() -> None:
            channel.sendall(data)
            channel.send_eof()

        sender = threading.Thread(target=send)
        sender.start()
        channel.settimeout(DEADLINE)
        assert read_exactly(channel.recv, len(data) + 1) == data
        sender.join(DEADLINE)
        channel.close()


def test_a_server_that_hangs_up_is_the_end(connection: Connection) -> None:
    with serving(lambda peer: peer.sendall(peer.recv(10))) as port:
        channel = PortOpener("devbox").open(connection, BOTH, port)
        channel.settimeout(DEADLINE)
        channel.sendall(b"hello")
        assert read_exactly(channel.recv, 100) == b"hello"
        channel.close()


def test_nobody_listening_is_told_from_everything_else(connection: Connection) -> None:
    with serving(read_all) as port:
        pass
    opener = PortOpener("devbox")
    for addresses in (BOTH, ("::1",)):
        with pytest.raises(ConnectError, match=rf"^nothing listens on port {port} of devbox$") as caught:
            opener.open(connection, addresses, port)
        assert caught.value.kind == "refused"
    assert connection.alive()


def test_an_address_that_was_not_named_is_not_tried(connection: Connection) -> None:
    with serving(read_all) as port, pytest.raises(ConnectError) as caught:
        PortOpener("devbox").open(connection, ("::1",), port)
    assert caught.value.kind == "refused"


def test_a_channel_that_is_closed_leaves_nothing_on_the_remote(connection: Connection, remote: Sshd) -> None:
    heard, go_on = threading.Event(), threading.Event()

    def serve(peer: socket.socket) -> None:
        read_all(peer)
        heard.set()
        go_on.wait(DEADLINE)  # silent, and open for as long as somebody is there

    with serving(serve) as port:
        channel = PortOpener("devbox").open(connection, BOTH, port)
        channel.sendall(b"x")
        channel.close()
        assert heard.wait(DEADLINE)
        wait_until(lambda: not remote.runs("port"), "no helper is left")
        go_on.set()


@pytest.mark.parametrize("way", ["control", "paramiko"])
def test_an_sshd_that_forwards_nothing_is_asked_once_for_a_connection(
    barred: Sshd, forwarding: Sshd, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sshd, times in ((barred, 1), (forwarding, 3)):
        with connected(way, sshd) as connection, serving(lambda peer: peer.sendall(b"x")) as port:
            open_port = mock.Mock(wraps=connection.open_port)
            monkeypatch.setattr(connection, "open_port", open_port)
            opener = PortOpener("devbox")
            for _ in range(3):
                channel = opener.open(connection, ("127.0.0.1",), port)
                assert channel.recv(1) == b"x"
                channel.close()
        assert open_port.call_count == times


@pytest.mark.parametrize("way", WAYS)
def test_a_remote_without_help_says_what_to_do(way: str) -> None:
    with (
        Sshd(options=["AllowTcpForwarding no"]) as sshd,
        connected(way, sshd) as connection,
        serving(read_all) as port,
        pytest.raises(ConnectError, match="run nssh infect devbox") as caught,
    ):
        PortOpener("devbox").open(connection, BOTH, port)
    assert caught.value.kind == "refused"


@pytest.mark.parametrize("way", WAYS)
def test_a_noisy_shell_is_no_part_of_the_answer(way: str) -> None:
    with Sshd(options=["AllowTcpForwarding no"], account=True) as sshd:
        with connected("batch", sshd) as connection:
            deploy.infect(connection, host="devbox")
        sshd.write_home(".bashrc", "echo connected; echo 'Welcome!'\n")
        sshd.write_home(".profile", "echo connected\n")
        with connected(way, sshd) as connection, serving(lambda peer: peer.sendall(b"x")) as port:
            channel = PortOpener("devbox").open(connection, BOTH, port)
            channel.settimeout(DEADLINE)
            assert read_exactly(channel.recv, 10) == b"x"
            channel.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_ends_while_it_is_used_ends_the_channel(way: str) -> None:
    with Sshd() as sshd, nothing_left():
        with connected("batch", sshd) as connection:
            deploy.infect(connection, host="devbox")
        with connected(way, sshd) as connection, serving(read_all) as port:
            channel = PortOpener("devbox").open(connection, BOTH, port)
            channel.settimeout(DEADLINE)
            sshd.kill_sessions()
            assert channel.recv(1) == b""
            channel.close()
            if way != "batch":
                with pytest.raises(ConnectError) as caught:
                    PortOpener("devbox").open(connection, BOTH, port, timeout=5)
                assert caught.value.kind in {"closed", "timeout"}
