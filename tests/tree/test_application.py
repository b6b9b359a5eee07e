"""The bridge's own tree, on a real relay and a real remote: every actor fails in every phase, the tree serves again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.messages import EventKind, NetworkChanged
from nssh import identity
from nssh.wire import envelope as wire
from tests.lab.laptop import Laptop
from tests.lab.relay import RelayServer
from tests.lab.sshd import Sshd
from tests.tree.stage import PARTS, Faults, InjectedError, Poke, Stage, Theatre
from tests.tree.support import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    with Sshd() as sshd, RelayServer() as relay:
        Laptop(sshd.client).infect()
        target = identity.resolve(sshd.client.ssh, "devbox")
        with sshd.client.master() as master:
            yield Theatre(f"unix:{relay.socket}", sshd.state / "nssh/relay.sock", target, os.fspath(master))


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def stage(theatre: Theatre, monkeypatch: pytest.MonkeyPatch, directory: Path) -> Stage:
    return Stage(theatre, monkeypatch, directory)


class Phase:
    """How an actor is made to fail: what is planned, and what makes it happen.

    Args:
        plans: Where each fault strikes, see `Faults.plan`, and how.
        poke: Crash it by a message of the test's own, before anything is published.
    """

    def __init__(self, poke: BaseException | None = None, *, ask: bool = False, **plans: str | BaseException) -> None:
        self.poke = poke
        self.ask = ask
        self.plans = {where.replace("_in_", "#"): how for where, how in plans.items()}

    @property
    def hangs(self) -> bool:
        return "hang" in self.plans.values()


CRASH = InjectedError("poked")
PHASES = {
    "constructor": Phase(CRASH, __init___in_2="fail"),
    "on_start": Phase(CRASH, started_in_2="fail"),
    "message": Phase(message="fail"),
    "after-message": Phase(handled="fail"),
    "ask": Phase(CRASH, ask=True),
    "on_stop": Phase(CRASH, stopped_in_1="fail"),
    "system-exit": Phase(message=SystemExit(3)),
    "keyboard-interrupt": Phase(message=KeyboardInterrupt()),
    "hang-constructor": Phase(CRASH, __init___in_2="hang"),
    "hang-on_start": Phase(CRASH, started_in_2="hang"),
    "hang-message": Phase(message="hang"),
    "hang-on_stop": Phase(CRASH, stopped_in_1="hang"),
}


def plan(faults: Faults, phase: Phase) -> None:
    for where, how in phase.plans.items():
        if isinstance(how, BaseException):
            faults.plan(where, raising(how))
        else:
            faults.plan(where, faults.hang if how == "hang" else faults.fail)


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def let_time_pass(stage: Stage, faults: Faults) -> None:
    """Skip time until the actor that hangs was abandoned; nobody else is taken for hanging, too."""
    assert faults.hanging.wait(PATIENCE)

    def others_idle() -> bool:
        lives = [child.incarnation for child in stage.tree.supervisor._children.values() if child.id != faults.name]
        return all(life is None or life.work is None for life in lives)

    def abandoned() -> int:
        if others_idle():
            stage.clock.skip(400)
        elif faults.name == "remote_host":
            stage.clock.skip(12)  # more than it may take; the others may wait for it longer than that
        return stage.count(EventKind.ABANDONED, faults.name)

    eventually(abandoned, "the hanging actor is abandoned")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", PARTS)
def test_whoever_fails_whenever_the_tree_serves_again(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, directory: Path, name: str, phase: str
) -> None:
    # The remote host's part is the way to the bus; the others need not wait for ssh.
    stage = Stage(theatre, monkeypatch, directory, over_ssh=name == "remote_host")
    faults, how = Faults(name, monkeypatch), PHASES[phase]
    try:
        with stage.playing():
            plan(faults, how)
            if how.ask:
                with pytest.raises(InjectedError):
                    stage.tree.supervisor.directory.ask(name, Poke(CRASH), PATIENCE)
            elif how.poke is not None:
                stage.send(name, Poke(how.poke))
            stage.tell(transport="mosh", prepared=True, version="9.9")
            if name == "remote_host":
                stage.send(name, NetworkChanged())
            url = stage.open_url()
            stage.write(phase)
            ping = stage.ask(wire.KIND_PING)
            if how.hangs:
                let_time_pass(stage, faults)
            stage.served(url, phase, ping)
            stage.serves()
            assert sorted(faults.struck) == sorted(how.plans), "what was planned took place"
            assert {event.id for event in stage.happened if event.kind is EventKind.RESTARTING} == {name}
            # One for each crash; a failure in `stopped` belongs to the crash before it.
            crashes = (how.poke is not None) + len(how.plans) - ("stopped#1" in how.plans)
            assert stage.count(EventKind.RESTARTING) == crashes
            assert stage.count(EventKind.ABANDONED) == how.hangs
            logged = stage.log("actor-restart")
            assert {line["actor"] for line in logged} == {name}
            assert all(line["err"] for line in logged)
            assert stage.record().version == "9.9"
            assert stage.log("msg-failed") == []
            assert stage.log("publish-failed") == []
    finally:
        faults.release.set()
        eventually(lambda: not stage.tree.supervisor._ghosts.existing(), "the abandoned threads end")
