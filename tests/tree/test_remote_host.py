"""A later life of the remote's owner, of this bridge or the next: it need not wait for a preparation that was done."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors import remote_host
from nssh.base import process
from nssh.base.errors import RemoteError
from nssh.ssh.script import exchange
from nssh.state.remembered_hosts import RememberedHost, checksum, write
from tests.supervision.support import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.ssh.framing import Script
    from tests.tree.stage import Stage

pytestmark = pytest.mark.real


@pytest.fixture
def revived(stage: Stage) -> Stage:
    """A session whose bridge has died after it had prepared the remote, which is all that the next one is told."""
    stage.session = stage.session._replace(restarts=1)
    write(stage.session.key, RememberedHost("1", session=checksum(stage.session.session_file)))
    return stage


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Preparations wait for this."""
    go = threading.Event()

    def wait(*arguments: Any) -> Any:
        assert go.wait(PATIENCE)
        return exchange(*arguments)

    monkeypatch.setattr(remote_host, "exchange", wait)
    yield go
    go.set()


def test_it_is_reached_before_it_is_prepared_again(revived: Stage, held: threading.Event) -> None:
    with revived.playing(until_up=False):
        eventually(lambda: revived.record().route == "control", "the connection is there")
        held.set()
        eventually(lambda: revived.record().version, "it is prepared, too")


@pytest.mark.parametrize("what", ["the first life", "another file"])
def test_otherwise_it_is_prepared_first(revived: Stage, held: threading.Event, what: str) -> None:
    if what == "the first life":
        revived.session = revived.session._replace(restarts=0)
    else:
        write(revived.session.key, RememberedHost("1", session="another"))
    with revived.playing(until_up=False):
        eventually(lambda: revived.record().bus == "up", "the bus, which needs no connection here, is up")
        assert revived.record().route == ""
        held.set()
        eventually(lambda: revived.record().route == "control", "the connection is there")


def test_a_preparation_that_fails_behind_the_connection_comes_first_from_then_on(
    revived: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def fail(*arguments: Any) -> Any:
        tries.append(os.getpid())
        if len(tries) < 4:
            raise RemoteError("its disk is full")
        return exchange(*arguments)

    monkeypatch.setattr(remote_host, "exchange", fail)
    with revived.playing(until_up=False):
        eventually(lambda: revived.log("connect-failed"), "the second try is a failed connection, with its waits")
        revived.clock.skip(5)
        eventually(lambda: revived.record().version and revived.record().route == "control", "at last")
        assert len(revived.log("connect-failed")) == 2


@pytest.mark.parametrize("ended", ["before", "while the remote is prepared", "afterwards"])
def test_the_session_file_promises_more_once_the_go_program_has_ended(
    stage: Stage, held: threading.Event, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    """Whenever that is, the last file that is written is that of a session that acts."""
    written: list[str] = []

    def note(connection: Any, script: Script, *more: Any) -> Any:
        written.extend(name for name in ("plain", "whole") if f'"{name}"'.encode() in script.stdin)
        assert held.wait(PATIENCE)
        return exchange(connection, script, *more)

    monkeypatch.setattr(remote_host, "exchange", note)
    with subprocess.Popen(["sleep", "60"]) as go:
        stage.session = stage.session._replace(
            session_file='topic = "plain"\n',
            leader_file='topic = "whole"\n',
            joined=go.pid,
            behind=process.birth(go.pid),
        )
        if ended == "before":
            go.kill()
            go.wait()
        with stage.playing(until_up=False):
            if ended != "before":
                eventually(lambda: written == ["plain"], "it is about to be written")
            if ended == "afterwards":
                held.set()
                eventually(lambda: stage.record().version, "the remote is ready")
                assert stage.record().role == "standby"
            go.kill()
            go.wait()
            eventually(lambda: stage.record().role == "leader", "this session acts")
            held.set()
            eventually(lambda: stage.record().version and stage.record().route == "control", "the remote is ready")
            eventually(lambda: written[-1:] == ["whole"], "its own file is written")
