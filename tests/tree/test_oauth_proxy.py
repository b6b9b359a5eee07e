"""The OAuth proxy in the real tree: its flows live on whoever fails, and no port is kept by the dead."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import oauth_proxy
from actors.messages import ConnectionBroken, ExpectCallbacks, LeaseChanged
from actors.supervision import EventKind
from nssh.base.errors import ConnectError
from nssh.local import callback_store as store
from nssh.local.callback_finder import Callback
from nssh.local.callback_flow import LONGEST
from tests.lab.ports import free_port
from tests.lab.tools import wait_until
from tests.supervision.support import PATIENCE, eventually
from tests.tree.stage import Faults, Hang, Poke, Stage

pytestmark = pytest.mark.real


@pytest.fixture
def port() -> int:
    return free_port()


def expect(stage: Stage, *ports: int) -> None:
    callbacks = tuple(Callback("127.0.0.1", port, "/callback") for port in ports)
    stage.tree.supervisor.directory.ask("oauth_proxy", ExpectCallbacks(callbacks), PATIENCE)


def accepts(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), PATIENCE):
        return True
    return False


def answers(port: int) -> bool:
    """Whether the port is carried: the remote, which is this machine, has nobody there but us, which is said."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"GET /callback?code=x HTTP/1.1\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("victim", ["oauth_proxy", "url_opener", "remote_host", "session_registry", "subscriber"])
def test_a_flow_survives_an_actor(stage: Stage, monkeypatch: pytest.MonkeyPatch, port: int, victim: str) -> None:
    Faults(victim, monkeypatch)
    with stage.playing():
        expect(stage, port)
        stage.send(victim, Poke())
        eventually(lambda: stage.count(EventKind.RESTARTING, victim) == 1, f"{victim} is restarted")
        eventually(lambda: stage.record().route == "control", "the remote is reached")
        eventually(lambda: accepts(port), "it is listened on")
        expect(stage, port)
        assert stage.log("callback-failed") == []
    assert not accepts(port)


def test_a_life_that_hangs_keeps_no_port_from_its_successor(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    faults = Faults("oauth_proxy", monkeypatch)
    with stage.playing():
        expect(stage, port)
        stage.send("oauth_proxy", Hang())
        faults.let_time_pass(stage)
        eventually(lambda: stage.count(EventKind.RESTARTING, "oauth_proxy") == 1, "it is replaced")
        expect(stage, port)
        assert stage.log("callback-failed") == []
        assert stage.record().problem == ""
        assert accepts(port)
        faults.end(stage)
        assert accepts(port), "what comes back takes nothing with it"
    assert not accepts(port)


def test_the_next_bridge_goes_on_with_what_is_not_over(stage: Stage, port: int) -> None:
    with stage.playing():
        expect(stage, port)
        path = stage.state / "t.callbacks"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [entry.callback.port for entry in store.read(os.fspath(path), time.time())] == [port]
    assert not accepts(port)
    with stage.playing():
        eventually(lambda: accepts(port), "it is listened on")


def test_what_is_over_is_forgotten_though_its_port_is_asked_for_again(
    stage: Stage, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(oauth_proxy, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))

    with stage.playing():
        ask = stage.tree.supervisor.directory.ask
        for path, left in (("/first", ["/first"]), ("/second", ["/second"])):
            ask("oauth_proxy", ExpectCallbacks((Callback("127.0.0.1", port, path),)), PATIENCE)
            assert [entry["path"] for entry in json.loads((stage.state / "t.callbacks").read_text())] == left
            now += LONGEST + 1


def test_a_session_that_stands_by_listens_to_nothing(stage: Stage, port: int) -> None:
    store.write(
        os.fspath(stage.state / "t.callbacks"),
        [store.Expected(Callback("127.0.0.1", port, "/callback"), time.time() + 60)],
    )
    with stage.playing(until_up=False):
        eventually(lambda: accepts(port), "the leader listens")
    with contextlib.ExitStack() as stack:
        from nssh.state.lease import Lease

        other = Lease(stage.session.lease)
        assert other.acquire()
        stack.callback(other.release)
        with stage.playing(until_up=False):
            eventually(lambda: stage.record().role == "standby", "it stands by")
            stage.send("oauth_proxy", LeaseChanged(held=False))
            assert not accepts(port)
            other.release()
            eventually(lambda: accepts(port), "it takes over")


def test_a_complaint_outlives_the_registry_and_goes_with_its_reason(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    Faults("session_registry", monkeypatch)
    with stage.playing():
        with socket.create_server(("127.0.0.1", port)):
            expect(stage, port)
            eventually(lambda: f"port {port} is taken" in stage.record().problem, "it is told")
            stage.send("session_registry", Poke())
            eventually(lambda: stage.count(EventKind.RESTARTING) == 1, "the registry is restarted")
            eventually(lambda: f"port {port} is taken" in stage.record().problem, "it is told again")
        expect(stage, port)
        eventually(lambda: stage.record().problem == "", "it is over")


def test_what_is_held_against_a_connection_that_is_gone_is_ignored(stage: Stage, port: int) -> None:
    class Gone:
        name = "control"

    with stage.playing():
        gone: Any = Gone()
        stage.send("remote_host", ConnectionBroken(gone))
        expect(stage, port)
        assert answers(port)
        assert stage.record().route == "control"
        assert len(stage.log("connect-failed")) == 0


def test_a_state_directory_that_is_full_costs_the_memory_of_it_and_no_login(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write", fail)
    with stage.playing():
        expect(stage, port)
        assert accepts(port)
        eventually(lambda: stage.log("record-failed"), "it is logged")
        assert stage.count(EventKind.RESTARTING) == 0


def test_a_browser_that_is_quicker_than_the_connection_waits_for_it(stage: Stage, port: int) -> None:
    with stage.playing():
        proxy_ask = stage.tree.supervisor.directory.ask
        failing = [2]

        def ask(to: str, message: object, timeout: float, **more: Any) -> object:
            if to == "remote_host" and failing[0]:
                failing[0] -= 1
                raise ConnectError("devbox: not connected yet", "closed")
            return proxy_ask(to, message, timeout, **more)

        expect(stage, port)
        stage.tree.supervisor.directory.ask = ask  # type: ignore[method-assign]
        assert answers(port)
        assert failing == [0]


# --- On disk ----------------------------------------------------------------------------------------------------------

GOOD = {"host": "localhost", "port": 8085, "path": "/", "secure": False, "expires": 1100.0}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "x.callbacks")
    expected = [
        store.Expected(Callback("localhost", 8085, '/é "x'), 1000.0 + LONGEST),
        store.Expected(Callback("::1", 9000, "/", secure=True), 1000.5),
    ]
    store.write(path, expected)
    assert store.read(path, 1000.0) == expected
    assert store.read(path, 1001.0) == expected[:1]
    assert store.read(path, 2000.0) == []
    assert store.read(path, 0.0) == [], "a clock that was set back makes nobody listen for days"
    store.write(path, [])
    assert not Path(path).exists()
    store.write(path, [])
    assert store.read(path, 1000.0) == []


@pytest.mark.parametrize(
    "change",
    [
        {"host": "evil.example"},
        {"host": None},
        {"host": ["localhost"]},
        {"port": 0},
        {"port": 65536},
        {"port": "80"},
        {"port": True},
        {"path": 1},
        {"secure": 1},
        {"expires": "soon"},
        {"expires": True},
        {"expires": float("nan")},
        {"expires": float("inf")},
    ],
)
def test_an_entry_that_makes_no_sense_is_left_out(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "x.callbacks"
    missing = {key: value for key, value in GOOD.items() if key not in change}
    path.write_text(json.dumps([{**GOOD, **change}, missing, GOOD, 1, None, "x"]))
    assert store.read(os.fspath(path), 1000.0) == [store.Expected(Callback("localhost", 8085, "/"), 1100.0)]


@given(st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b'{"a": 1}'), st.just(b"null")))
def test_a_file_that_is_damaged_counts_as_none(data: bytes) -> None:
    path = Path(f"/tmp/nssh-callbacks-{os.getpid()}")
    try:
        path.write_bytes(data)
        assert store.read(os.fspath(path), 1000.0) == []
    finally:
        path.unlink()


def test_the_wait_is_over_when_the_tree_is(stage: Stage, port: int) -> None:
    with stage.playing():
        expect(stage, port)
        client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    with client:
        assert client.recv(1) == b""
    wait_until(lambda: not accepts(port), "the port is free")
