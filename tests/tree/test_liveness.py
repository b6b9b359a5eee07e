"""Alive means answering: each actor hung or down is told from a dead network, and from a session that stands by."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from actors.liveness_responder import PATIENCE as STUCK_AFTER
from nssh.meeting import liveness
from nssh.meeting.liveness import SessionState
from nssh.state.lease import Lease
from tests.lab.ports import free_port
from tests.lab.proxy import DelayProxy
from tests.lab.relay import RelayServer
from tests.supervision.support import PATIENCE, eventually
from tests.tree.stage import PARTS, Faults, Hang, Poke

if TYPE_CHECKING:
    from tests.tree.stage import Stage

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", [name for name in PARTS if name != "liveness_responder"])
def test_a_session_with_an_actor_that_hangs_is_not_alive_and_says_which(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    faults = Faults(name, monkeypatch)
    with stage.playing():
        assert stage.probe()["alive"] is True
        stage.send(name, Hang())
        assert faults.hanging.wait(PATIENCE)
        stage.clock.skip(STUCK_AFTER)
        answer = stage.probe()
        assert answer == {"alive": False, "stuck": [name]}
        faults.release.set()


def test_one_that_hangs_in_the_responder_itself_is_met_by_silence(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults("liveness_responder", monkeypatch)
    with stage.playing():
        record = stage.record()
        stage.send("liveness_responder", Hang())
        assert faults.hanging.wait(PATIENCE)
        assert liveness.probe(record, timeout=0.3).state is SessionState.WEDGED
        faults.release.set()


def test_a_subscriber_that_is_down_for_good_is_not_alive(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults("subscriber", monkeypatch)
    with stage.playing():
        faults.plan("started#2", faults.hang)
        stage.send("subscriber", Poke())
        assert faults.hanging.wait(PATIENCE)
        assert stage.probe() == {"alive": False, "stuck": ["subscriber"]}
        faults.release.set()
        eventually(lambda: stage.probe().get("alive"), "alive again")


def test_a_long_task_that_was_declared_is_no_hanging(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults("clipboard", monkeypatch)

    with stage.playing():
        stage.send("clipboard", Hang(busy=60.0))
        assert faults.hanging.wait(PATIENCE)
        stage.clock.skip(STUCK_AFTER)
        assert stage.probe()["alive"] is True
        faults.release.set()


def test_a_session_on_a_dead_network_is_well_and_says_that_its_bus_is_down(stage: Stage) -> None:
    """Bytes are swallowed, connections stay open: nobody has noticed yet, and no actor is at fault."""
    with RelayServer() as relay, DelayProxy(str(relay.socket)) as link:
        stage.session = stage.session._replace(server=f"http://127.0.0.1:{link.port}")
        with stage.playing():
            assert stage.probe()["alive"] is True
            link.freeze()
            assert stage.probe() == {"alive": False, "bus": "down"}
            assert liveness.probe(stage.record()).state is SessionState.BUS_DOWN
            link.thaw()
            eventually(lambda: stage.probe().get("alive"), "alive again")


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"expect": 7}\n',
        b'{"expect": "http:\\ud800"}\n',
        b"\xff\n",
        b"[" * 5000 + b"\n",
        b"x" * (1 << 17),
        b'{"expect": "http:',
    ],
)
def test_whatever_else_is_said_on_the_control_socket_asks_whether_it_lives(stage: Stage, question: bytes) -> None:
    with stage.playing():
        assert stage.probe(question)["alive"] is True


def test_a_login_is_listened_for_before_that_is_answered(stage: Stage) -> None:
    port = free_port()
    url = f"https://provider.example/?redirect_uri=http%3A%2F%2F127.0.0.1%3A{port}%2Fcallback"
    with stage.playing():
        assert liveness.expect(stage.record(), url)
        with socket.create_connection(("127.0.0.1", port), PATIENCE):
            pass
        eventually(lambda: [event["port"] for event in stage.log("callback-open")] == [port], "it is logged")
        assert stage.probe()["alive"] is True


def test_one_that_stands_by_says_so_without_the_bus(stage: Stage) -> None:
    other = Lease(stage.session.lease)
    assert other.acquire()
    with stage.playing(until_up=False):
        eventually(lambda: stage.probe() == {"alive": True, "standby": True}, "it stands by")
        eventually(lambda: stage.record().socket, "its record names its socket")
        assert liveness.probe(stage.record()).state is SessionState.STANDBY
        other.release()
        eventually(lambda: "rtt" in stage.probe(), "it acts")


def test_a_peers_ping_is_answered_with_its_id_and_ones_own_are_not(stage: Stage) -> None:
    with stage.playing():
        asked = stage.ask("ping")
        eventually(lambda: stage.answers("pong", asked), "answered")
        for _ in range(5):
            assert stage.probe()["alive"] is True
        kinds = [event["kind"] for event in stage.log("msg-send")]
        assert kinds.count("pong") == 1
