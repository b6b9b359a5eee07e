from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.remote.support import Home

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def installed() -> Iterator[Home]:
    """A home with the shims and a running relay; tests leave no state in it that others mind."""
    with Home() as home:
        home.infect()
        home.connect()
        assert home.run("nssh-remote", "relay", "start").status == 0
        yield home


@pytest.fixture
def fresh() -> Iterator[Home]:
    """A home of the test's own with the shims, and without a session."""
    with Home() as home:
        home.infect()
        yield home


@pytest.fixture
def bare() -> Iterator[Home]:
    """A home of the test's own with nothing in it."""
    with Home() as home:
        yield home


@pytest.fixture
def home(installed: Home) -> Home:
    installed.connect()
    return installed
