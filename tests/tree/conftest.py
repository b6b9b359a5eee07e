from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from actors.supervision._restarts import Backoff
from actors.supervision._supervisor import Supervisor
from nssh.ssh import identity
from tests.lab.laptop import Laptop
from tests.lab.relay import RelayServer
from tests.lab.sshd import Sshd
from tests.tree.stage import Stage, Theatre
from tests.tree.support import FakeClock, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.supervision._spec import ChildSpec


class MakeTree(Protocol):
    def __call__(self, *children: str | ChildSpec, start: bool = True, **options: Any) -> Supervisor: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    yield script
    script.release.set()


@pytest.fixture
def make_tree(script: Script) -> Iterator[MakeTree]:
    """Makes trees of probes on the real clock, with next to no backoff; stops them at the end."""
    trees: list[Supervisor] = []

    def make(*children: str | ChildSpec, start: bool = True, **options: Any) -> Supervisor:
        specs = [script.spec(child) if isinstance(child, str) else child for child in children]
        options = {
            "backoff": Backoff(initial=0.001, maximum=0.01),
            "intensity": 50,
            "on_event": script.events.append,
            **options,
        }
        tree = Supervisor(specs, **options)
        trees.append(tree)
        if start:
            tree.start()
        return tree

    yield make
    script.release.set()
    for tree in trees:
        tree.stop()


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
