from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.relay.harness import Relay, relay_of
from tests.wire.interpreters import INTERPRETERS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A state directory in which no relay runs yet."""
    with relay_of() as made:
        yield made


@pytest.fixture(
    scope="module", params=sorted({INTERPRETERS[0], INTERPRETERS[-1]}), ids=lambda path: path.split("/")[-3]
)
def running(request: pytest.FixtureRequest) -> Iterator[Relay]:
    """A relay that serves a whole module's tests; they use topics of their own."""
    with relay_of(request.param) as made:
        yield made.serve()
