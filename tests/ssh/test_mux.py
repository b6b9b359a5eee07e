"""The client's half of connection sharing against masters that are none, and against the real one's own client."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import ConnectError
from nssh.ssh.control_connection import ControlConnection
from nssh.ssh.mux import MuxClient, master_pid
from tests.lab.sshd import DEADLINE, Sshd
from tests.ssh.conftest import connected, nothing_left, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELLO = struct.pack(">III", 8, 1, 4)


@pytest.fixture
def fake() -> Iterator[Callable[[bytes, bool], str]]:
    """Serve a fake master that greets everybody with the same bytes and then hangs up or waits; gives its path."""
    with tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp") as directory:
        servers: list[tuple[socket.socket, threading.Thread]] = []

        def start(answer: bytes, hang_up: bool) -> str:  # noqa: FBT001, a table's column
            path = f"{directory}/{len(servers)}"
            server = socket.socket(socket.AF_UNIX)
            server.bind(path)
            server.listen()

            def serve() -> None:
                while True:
                    try:
                        peer = server.accept()[0]
                    except OSError:
                        return
                    with peer:
                        peer.sendall(answer)
                        peer.settimeout(DEADLINE)
                        if hang_up:
                            continue
                        try:
                            while peer.recv(4096):
                                pass
                        except OSError:
                            continue

            thread = threading.Thread(target=serve)
            thread.start()
            servers.append((server, thread))
            return path

        yield start
        for server, thread in servers:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)
            server.close()


@pytest.mark.parametrize("hang_up", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0\0",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">II", 4, 1),
        struct.pack(">III", 8, 1, 3),
        HELLO,
        HELLO + struct.pack(">III", 8, 0x80000005, 1),
        HELLO + struct.pack(">IIII", 12, 0xDEAD, 1, 1),
    ],
    ids=["nothing", "cut", "http", "huge", "short", "old", "silent", "stub", "unknown"],
)
def test_what_is_no_master_is_an_error_within_its_time(
    fake: Callable[[bytes, bool], str],
    answer: bytes,
    hang_up: bool,  # noqa: FBT001, a table's column
) -> None:
    path = fake(answer, hang_up)
    with nothing_left():
        assert master_pid(path, 0.3) is None
        with pytest.raises(ConnectError), MuxClient(path, 0.3) as client:
            client.open_session("echo x", (0, 1, 2))


def test_a_missing_socket_and_one_that_nobody_serves_are_told_as_closed(tmp_path: Path) -> None:
    dead = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp")) / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(dead))
    for path in (dead, tmp_path / "missing"):
        with pytest.raises(ConnectError) as caught:
            MuxClient(os.fspath(path), 1.0)
        assert caught.value.kind == "closed"
    dead.unlink()
    dead.parent.rmdir()


@pytest.mark.real
def test_the_master_s_pid_is_what_ssh_says_it_is(remote: Sshd) -> None:
    with remote.client.master() as path:
        command = [*remote.client.ssh, "-S", os.fspath(path), "-O", "check", remote.alias]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        assert f"pid={master_pid(os.fspath(path))})" in told


@pytest.mark.real
def test_a_stopped_master_is_given_up_in_time(remote: Sshd) -> None:
    with remote.client.master() as path:
        connection = ControlConnection(target_of(remote), os.fspath(path))
        pid = connection.master_pid()
        assert pid is not None
        os.kill(pid, 19)
        try:
            assert not connection.alive()
            with pytest.raises(ConnectError) as caught:
                connection.run("echo x", timeout=0.3)
            assert caught.value.kind == "timeout"
        finally:
            os.kill(pid, 18)
        connection.close()


@pytest.mark.real
def test_too_many_sessions_are_refused_and_those_that_run_go_on() -> None:
    with Sshd(options=["MaxSessions 2"]) as remote, connected("control", remote) as connection:
        streams = [connection.open_stream("exec cat") for _ in range(2)]
        with pytest.raises(ConnectError) as caught:
            connection.run("echo x", timeout=DEADLINE)
        assert caught.value.kind == "refused"
        for stream in streams:
            stream.sendall(b"x")
            assert stream.recv(1) == b"x"


@pytest.mark.real
def test_a_command_is_as_quick_as_the_round_trip(remote: Sshd) -> None:
    """No process is started for it: 50 commands take less time than 50 starts of the ssh client."""
    with remote.client.master() as path:
        connection = ControlConnection(target_of(remote), os.fspath(path))
        before = time.monotonic()
        for _ in range(50):
            connection.run(":")
        ours = time.monotonic() - before
        before = time.monotonic()
        for _ in range(50):
            argv = [*remote.client.ssh, "-S", os.fspath(path), remote.alias, ":"]
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=DEADLINE)
        assert ours < time.monotonic() - before
        connection.close()
