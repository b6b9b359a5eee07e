"""Asking sessions whether they live; how the bridge answers is in tests/tree, who asks why in tests/session."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from nssh.base import process
from nssh.base.errors import BusError
from nssh.bus.ping import ping
from nssh.config.settings import Config
from nssh.meeting import liveness
from nssh.meeting.liveness import Liveness, SessionState
from nssh.state.session_records import Record
from nssh.wire import envelope as wire
from tests.lab import ntfy
from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = Record(os.getpid(), "", "", "", "", "", "", birth=process.birth(os.getpid()), bridge=1)


@pytest.fixture
def answering() -> Iterator[Any]:
    """Serve a socket of a session that gives one answer, or none."""
    directory = tempfile.mkdtemp(prefix="nssh-", dir="/tmp")
    servers: list[socket.socket] = []

    def serve(answer: bytes | None) -> str:
        server = socket.socket(socket.AF_UNIX)
        path = os.path.join(directory, f"s{len(servers)}")
        server.bind(path)
        server.listen()
        servers.append(server)

        def accept() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                assert connection.recv(10) == b"\n"
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        threading.Thread(target=accept, daemon=True).start()
        return path

    yield serve
    for server in servers:
        server.close()
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'{"alive": true, "rtt": 0.25}\n', Liveness(SessionState.ALIVE, 0.25)),
        (b'{"alive": true, "rtt": 1}', Liveness(SessionState.ALIVE, 1.0)),
        (b'{"alive": true, "standby": true}', Liveness(SessionState.STANDBY)),
        (b'{"alive": false}', Liveness(SessionState.WEDGED)),
        (b'{"alive": false, "bus": "down"}', Liveness(SessionState.BUS_DOWN)),
        (b'{"alive": false, "stuck": ["a", "b"]}', Liveness(SessionState.WEDGED, reason="a, b is stuck")),
        (b'{"alive": false, "stuck": ["\\u001b[2J"]}', Liveness(SessionState.WEDGED, reason="?[2J is stuck")),
        (b'{"alive": false, "stuck": "x", "bus": 1}', Liveness(SessionState.WEDGED)),
        (b'{"alive": "yes", "rtt": "soon"}', Liveness(SessionState.WEDGED)),
        (b'{"alive": true, "rtt": NaN}', Liveness(SessionState.ALIVE)),
        (b'{"alive": true, "rtt": -1}', Liveness(SessionState.ALIVE)),
        (b'{"alive": true, "rtt": true}', Liveness(SessionState.ALIVE)),
        (b'{"alive": true, "rtt": 1' + b"0" * 400 + b"}", Liveness(SessionState.ALIVE)),
        (b"[]", Liveness(SessionState.WEDGED, reason="its answer is not understood")),
        (b"[" * 4096, Liveness(SessionState.WEDGED, reason="its answer is not understood")),
        (b"\xff\xfe", Liveness(SessionState.WEDGED, reason="its answer is not understood")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_session_is_asked_over_its_socket(answering: Any, answer: bytes, expected: Liveness) -> None:
    assert liveness.probe(OURS._replace(socket=answering(answer))) == expected


@pytest.mark.parametrize("path", ["/nonexistent", "/tmp", "x" * 500, "a\0b"])
def test_a_socket_that_is_none_does_not_answer(path: str) -> None:
    assert liveness.probe(OURS._replace(socket=path), timeout=0.1) == Liveness(SessionState.WEDGED)


@pytest.mark.parametrize("answer", [None, b""])
def test_a_session_that_says_nothing_is_given_up(answering: Any, answer: bytes | None) -> None:
    assert liveness.probe(OURS._replace(socket=answering(answer)), timeout=0.1) == Liveness(SessionState.WEDGED)


class Clock:
    """The time as the module has it; who sleeps moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("ask", [liveness.probe, lambda found: liveness.probe_all([found])[0]], ids=["one", "several"])
def test_it_is_asked_until_the_deadline_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Record], Liveness]
) -> None:
    clock = Clock()
    monkeypatch.setattr(liveness, "time", clock)
    assert ask(OURS._replace(socket="/nonexistent")) == Liveness(SessionState.WEDGED)
    assert clock.now - 1000 == pytest.approx(liveness.DEADLINE)


def test_a_bridge_that_is_just_restarted_is_waited_for(answering: Any) -> None:
    path = answering(b'{"alive": true, "rtt": 0.1}')
    os.rename(path, f"{path}.away")
    threading.Timer(0.2, lambda: os.rename(f"{path}.away", path)).start()
    assert liveness.probe(OURS._replace(socket=path), timeout=10) == Liveness(SessionState.ALIVE, 0.1)


def test_a_suspended_launcher_is_wedged_whatever_its_bridge_says(answering: Any) -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        made = OURS._replace(
            pid=child.pid, birth=process.birth(child.pid), socket=answering(b'{"alive": true, "rtt": 0.1}')
        )
        child.send_signal(signal.SIGSTOP)
        until(lambda: process.is_stopped(child.pid))
        assert liveness.probe(made) == Liveness(SessionState.WEDGED, reason="it is suspended")
        child.kill()


def at(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_session_is_starting_until_it_has_a_bridge() -> None:
    assert liveness.probe(OURS._replace(bridge=0, started=at(3))) == Liveness(SessionState.STARTING)
    for made in (OURS._replace(started=at(3)), OURS._replace(bridge=0, started=at(600)), OURS._replace(bridge=0)):
        assert liveness.probe(made) == Liveness(SessionState.WEDGED, reason="it has no control socket")


def test_many_are_asked_at_once(answering: Any) -> None:
    """Twenty that say nothing take as long as one; those that answer are not held up."""
    found = [OURS._replace(socket=answering(None)) for _ in range(20)]
    found.append(OURS._replace(socket=answering(b'{"alive": true, "rtt": 0.5}')))
    began = time.monotonic()
    answers = liveness.probe_all(found, timeout=0.5)
    assert time.monotonic() - began < 5
    assert answers == [Liveness(SessionState.WEDGED)] * 20 + [Liveness(SessionState.ALIVE, 0.5)]
    assert liveness.probe_all([]) == []


# Sessions of the Go program, over the topic of a real ntfy server.


@pytest.fixture(scope="module")
def server() -> Iterator[ntfy.NtfyServer]:
    ntfy.require_ntfy()
    with ntfy.running() as running:
        yield running


class Peer:
    """A stand-in for the Go program's side of a topic: answers pings, between messages that mean nothing."""

    def __init__(self, config: Config, topic: str, *, answers: bool) -> None:
        from nssh.bus.client import BusClient

        self._client = BusClient(config.server)
        self._stream = self._client.stream(topic)
        self._topic, self._answers = topic, answers
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def _run(self) -> None:
        with self._stream:
            for event in self._stream:
                self._ready.set()
                if event.message is None:
                    continue
                envelope = wire.decode(event.message.text)
                if envelope.kind == wire.KIND_PING:
                    self._client.publish(self._topic, "no envelope")
                    self._client.publish_envelope(self._topic, wire.Envelope(wire.KIND_PONG, id="another"))
                    if self._answers:
                        self._client.publish_envelope(self._topic, wire.Envelope(wire.KIND_PONG, id=envelope.id))
                    return

    def close(self) -> None:
        self._stream.close()
        self._thread.join(30)
        self._client.close()


@pytest.mark.real
@pytest.mark.parametrize("answers", [True, False])
def test_a_session_without_a_socket_is_pinged_over_its_topic(server: ntfy.NtfyServer, *, answers: bool) -> None:
    config, topic = Config(server.url), f"nssh_go{answers}".lower()
    peer = Peer(config, topic, answers=answers)
    go = Record(os.getpid(), "devbox", "devbox", topic, config.server, at(3), "")
    answer = liveness.probe(go, config, 20 if answers else 1.5)
    assert answer.state is (SessionState.ALIVE if answers else SessionState.WEDGED)
    assert (answer.rtt > 0) == answers
    peer.close()


def test_a_topic_whose_server_is_down_is_told_apart() -> None:
    config = Config("http://127.0.0.1:9")
    go = Record(os.getpid(), "devbox", "devbox", "nssh_x", config.server, at(3), "")
    assert liveness.probe(go, config).state is SessionState.BUS_DOWN
    with pytest.raises(BusError):
        ping(config, "nssh_x", 1.0)
    assert liveness.probe(go._replace(server=f"{config.server}/"), config).state is SessionState.BUS_DOWN
    assert liveness.probe(go).text == "not asked", "without a configuration"


def test_a_session_on_another_server_is_not_asked() -> None:
    go = Record(os.getpid(), "devbox", "devbox", "nssh_x", "https://other.example", at(3), "")
    for server in ("http://127.0.0.1:9", "relay"):
        answer = liveness.probe(go, Config(server))
        assert (answer.state, answer.alive) == (SessionState.UNKNOWN, False)
        assert answer.text == f"not asked: this machine's server is {server}"
    assert liveness.probe(go._replace(server="relay"), Config("relay")).state is SessionState.UNKNOWN


@pytest.mark.parametrize("topic", ["", "a/b?c", "x" * 999, "\0"])
def test_a_topic_that_is_none_is_no_crash(topic: str) -> None:
    config = Config("http://127.0.0.1:9")
    (answer,) = liveness.probe_all([Record(os.getpid(), "devbox", "devbox", topic, config.server, at(3), "")], config)
    assert answer.state is SessionState.BUS_DOWN
    assert not topic or topic not in answer.text


def test_a_server_that_swallows_everything_costs_the_deadline_and_no_more() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        config = Config(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert ping(config, "nssh_x", 0.5) is None
        assert time.monotonic() - began < 5
