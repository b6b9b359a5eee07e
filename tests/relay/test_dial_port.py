"""`nssh-remote port`: standard input and output as a connection to a loopback port, on every interpreter."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.ports import free_port
from tests.lab.tools import DEADLINE, wait_until
from tests.wire.interpreters import INTERPRETERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
CODE = f"""import sys
sys.path.insert(0, {str(ROOT)!r})
from nssh.relay.dial_port import main
sys.exit(main(sys.argv[1:]))
"""
MARK = "f00f"


@pytest.fixture(params=INTERPRETERS)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:

        def run() -> None:
            with contextlib.suppress(OSError):
                peer = server.accept()[0]
                with peer:
                    serve(peer)

        threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1]


def start(python: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [python, "-IS", "-c", CODE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def echo(peer: socket.socket) -> None:
    while data := peer.recv(1 << 16):
        peer.sendall(data)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_ways_are_copied_and_a_half_close_is_passed_on(python: str, host: str) -> None:
    def serve(peer: socket.socket) -> None:
        size = 0
        while data := peer.recv(1 << 16):
            size += len(data)
        peer.sendall(b"%d" % size)

    with serving(serve, host) as port:
        process = start(python, str(port), MARK, "127.0.0.1", "::1")
        out, err = process.communicate(bytes(1 << 20), DEADLINE)
    assert (process.returncode, out, err) == (0, b"\nf00f\nconnected\n%d" % (1 << 20), b"")


def test_large_answers_are_whole(python: str) -> None:
    data = os.urandom(4 << 20)
    with serving(echo) as port:
        out = start(python, str(port), MARK, "127.0.0.1").communicate(data, DEADLINE)[0]
    assert out.removeprefix(b"\nf00f\nconnected\n") == data


def test_a_port_where_nobody_listens_is_refused(python: str) -> None:
    port = free_port()
    process = start(python, str(port), MARK, "127.0.0.1", "::1")
    out, err = process.communicate(b"", DEADLINE)
    assert (process.returncode, out, err) == (1, b"\nf00f\nrefused\n", b"")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("80",),
        ("80", MARK),
        ("x", MARK, "127.0.0.1"),
        ("-1", MARK, "127.0.0.1"),
        ("0", MARK, "127.0.0.1"),
        ("65536", MARK, "127.0.0.1"),
        ("80", MARK, "10.0.0.1"),
        ("80", MARK, "localhost"),
        ("80", MARK, "127.0.0.1", "[::]"),
    ],
)
def test_only_loopback_ports_are_reached(python: str, arguments: tuple[str, ...]) -> None:
    process = start(python, *arguments)
    out, err = process.communicate(b"", DEADLINE)
    assert (process.returncode, out) == (2, b"")
    assert err.startswith(b"usage: nssh-remote port")


def test_the_end_of_the_server_is_the_end(python: str) -> None:
    with serving(lambda peer: peer.sendall(b"bye")) as port:
        process = start(python, str(port), MARK, "127.0.0.1")
        assert process.stdout is not None
        assert process.stdout.read().endswith(b"connected\nbye")  # while its input is still open
        assert process.wait(DEADLINE) == 0
        process.communicate()


def test_it_ends_when_nobody_reads_it_any_more_though_the_server_is_silent(python: str) -> None:
    gone = threading.Event()

    def serve(peer: socket.socket) -> None:
        while peer.recv(1 << 16):
            pass
        gone.wait(DEADLINE)  # it has heard the end, and neither answers nor hangs up

    with serving(serve) as port:
        process = start(python, str(port), MARK, "127.0.0.1")
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(len("\nf00f\nconnected\n"))
        process.stdin.close()
        process.stdout.close()
        wait_until(lambda: process.poll() is not None, "it ends")
        gone.set()
        assert process.stderr is not None
        process.stderr.close()
