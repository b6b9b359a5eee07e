"""The bridge's own tree, on a real relay and a real remote: every actor fails in every phase, the tree serves again."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from actors.messages import NetworkChanged
from actors.supervision import EventKind
from nssh.wire import envelope as wire
from tests.supervision.support import PATIENCE
from tests.tree.stage import PARTS, Faults, InjectedError, Poke, Stage, raise_it

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tree.stage import Theatre

pytestmark = pytest.mark.real


class Phase:
    """How an actor is made to fail: what is planned, and what makes it happen.

    Args:
        plans: Where each fault strikes, see `Faults.plan`, and how.
        poke: Crash it by a message of the test's own, before anything is published.
    """

    def __init__(self, *, poke: bool = False, ask: bool = False, **plans: str | type[BaseException]) -> None:
        self.poke = poke
        self.ask = ask
        self.plans = {where.replace("_in_", "#"): how for where, how in plans.items()}

    @property
    def hangs(self) -> bool:
        return "hang" in self.plans.values()


PHASES = {
    "constructor": Phase(poke=True, __init___in_2="fail"),
    "on_start": Phase(poke=True, started_in_2="fail"),
    "message": Phase(message="fail"),
    "after-message": Phase(handled="fail"),
    "ask": Phase(poke=True, ask=True),
    "on_stop": Phase(poke=True, stopped_in_1="fail"),
    "system-exit": Phase(message=SystemExit),
    "keyboard-interrupt": Phase(message=KeyboardInterrupt),
    "hang-constructor": Phase(poke=True, __init___in_2="hang"),
    "hang-on_start": Phase(poke=True, started_in_2="hang"),
    "hang-message": Phase(message="hang"),
    "hang-on_stop": Phase(poke=True, stopped_in_1="hang"),
}


def plan(faults: Faults, phase: Phase) -> None:
    for where, how in phase.plans.items():
        if isinstance(how, type):
            faults.plan(where, functools.partial(raise_it, how))
        else:
            faults.plan(where, faults.hang if how == "hang" else faults.fail)


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
                    stage.tree.supervisor.directory.ask(name, Poke(), PATIENCE)
            elif how.poke:
                stage.send(name, Poke())
            stage.tell(transport="mosh", prepared=True, version="9.9")
            if name == "remote_host":
                stage.send(name, NetworkChanged())
            url = stage.open_url()
            stage.write(phase)
            ping = stage.ask(wire.KIND_PING)
            if how.hangs:
                faults.let_time_pass(stage)
            stage.served(url, phase, ping)
            stage.serves()
            assert sorted(faults.struck) == sorted(how.plans), "what was planned took place"
            assert {event.id for event in stage.happened if event.kind is EventKind.RESTARTING} == {name}
            # One for each crash; a failure in `stopped` belongs to the crash before it.
            crashes = how.poke + len(how.plans) - ("stopped#1" in how.plans)
            assert stage.count(EventKind.RESTARTING) == crashes
            assert stage.count(EventKind.ABANDONED) == how.hangs
            logged = stage.log("actor-restart")
            assert {line["actor"] for line in logged} == {name}
            assert all(line["err"] for line in logged)
            assert stage.record().version == "9.9"
            assert stage.log("msg-failed") == []
            assert stage.log("publish-failed") == []
    finally:
        faults.end(stage)
