from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from actors.supervision import Backoff, Supervisor
from tests.supervision.support import FakeClock, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.supervision import ChildSpec


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
