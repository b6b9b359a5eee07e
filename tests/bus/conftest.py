"""The servers and the doors to them that the contract suite runs against; each server starts once a session."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from nssh.bus.client import BusClient
from nssh.ssh.identity import resolve
from nssh.ssh.paramiko_connection import ParamikoConnection
from tests.lab import ntfy
from tests.lab.proxy import DelayProxy
from tests.lab.relay import CHECKOUT, RelayServer
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nssh.ssh.connection import ByteStream, Connection


class Server(Protocol):
    """A server that can die and hang."""

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Door:
    """One way to one server. A further way (through ssh, say) is one more entry of DOORS."""

    def __init__(
        self, name: str, server: Server, address: str = "", dial: Callable[[], ByteStream] | None = None
    ) -> None:
        self.name = name
        self.server = server
        self.address = address
        self._dial = dial

    @property
    def is_relay(self) -> bool:
        return self.name.startswith("relay")

    def client(self, **options: Any) -> BusClient:
        return BusClient(self.address, dial=self._dial, **options)

    @property
    def revives(self) -> bool:
        """Whether connecting starts the server, if need be."""
        return self.name in {"relay-dial", "relay-ssh"}

    @contextlib.contextmanager
    def link(self, **options: Any) -> Iterator[Link]:
        """Give a client over a link that can break."""
        if self.address.startswith("http"):
            host, _, port = self.address.removeprefix("http://").partition(":")
            with DelayProxy(host, int(port)) as proxy:
                client = BusClient(f"http://127.0.0.1:{proxy.port}", **options)
                yield Link(client, proxy.cut, lambda: proxy.accepted)
                client.close()
            return
        dialled: list[ByteStream] = []
        live: list[ByteStream] = []

        def dial() -> ByteStream:
            if self._dial is not None:
                stream = self._dial()
            else:
                stream = socket.socket(socket.AF_UNIX)
                stream.connect(self.address.removeprefix("unix:"))
            dialled.append(stream)
            live.append(stream)
            return stream

        def cut() -> None:
            while live:
                stream = live.pop()
                if not isinstance(stream, socket.socket):
                    stream.close()
                    continue
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)

        client = BusClient("relay", dial=dial, **options)
        yield Link(client, cut, lambda: len(dialled))
        client.close()


class Link(NamedTuple):
    """A client, `cut` that breaks all of its connections as a network would, and how many it `made` so far."""

    client: BusClient
    cut: Callable[[], None]
    made: Callable[[], int]


@pytest.fixture(scope="session")
def relay_server() -> Iterator[RelayServer]:
    with RelayServer() as server:
        yield server


@pytest.fixture(scope="session")
def ntfy_server() -> Iterator[ntfy.NtfyServer]:
    with ntfy.running() as server:
        yield server


def _ntfy_door(request: pytest.FixtureRequest) -> Door:
    server = request.getfixturevalue("ntfy_server")
    return Door("ntfy", server, server.url)


def _unix_door(request: pytest.FixtureRequest) -> Door:
    server = request.getfixturevalue("relay_server")
    return Door("relay-unix", server, f"unix:{server.socket}")


def _dial_door(request: pytest.FixtureRequest) -> Door:
    server = request.getfixturevalue("relay_server")
    return Door("relay-dial", server, dial=server.dial)


@pytest.fixture(scope="session")
def ssh_connection() -> Iterator[Connection]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        with Sshd() as sshd:
            connection = ParamikoConnection(resolve(sshd.client.ssh, sshd.alias, ()))
            yield connection
            connection.close()


def _ssh_door(request: pytest.FixtureRequest) -> Door:
    server = request.getfixturevalue("relay_server")
    connection = request.getfixturevalue("ssh_connection")
    words = [sys.executable, str(CHECKOUT / "nssh" / "relay" / "__main__.py"), "dial", "--state", str(server.state)]
    return Door("relay-ssh", server, dial=lambda: connection.open_stream(f"exec {shlex.join(words)}"))


DOORS: dict[str, Callable[[pytest.FixtureRequest], Door]] = {
    "relay-unix": _unix_door,
    "relay-dial": _dial_door,
    "relay-ssh": _ssh_door,
    "ntfy": _ntfy_door,
}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.real) for name in DOORS])
def door(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param](request)


@pytest.fixture
def topic() -> str:
    """A topic that no other test has."""
    return f"nssh_{secrets.token_hex(10)}"


@pytest.fixture
def threads() -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Start threads that must have ended, without an exception, by the end of the test (30 s of patience)."""
    started: list[tuple[threading.Thread, list[BaseException]]] = []

    def start(target: Callable[[], object]) -> threading.Thread:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                target()
            except BaseException as error:  # noqa: BLE001  (told by the fixture's end)
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        started.append((thread, failures))
        thread.start()
        return thread

    yield start
    for thread, failures in started:
        thread.join(30)
        assert not thread.is_alive(), "a thread of the test did not end"
        if failures:
            raise failures[0]
