"""A remote whose ports stand open on this machine, and a port for it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests.lab.ports import free_port
from tests.lab.tools import wait_until
from tests.local.callback.stage import Remote, held

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def remote() -> Iterator[Remote]:
    gc.collect()
    before = held()
    with Remote() as made:
        yield made
    assert made.crash is None
    del made
    gc.collect()
    wait_until(lambda: held() <= before, "no thread is left", 10)


@pytest.fixture
def port() -> int:
    return free_port()
