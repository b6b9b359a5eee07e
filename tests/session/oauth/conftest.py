"""A remote whose loopback is not the laptop's, with a program that logs in; a laptop; a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import Laptop
from tests.lab.netns import Namespace
from tests.lab.sshd import Sshd
from tests.session.oauth.play import Provider, prepared, seen_off

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def apart() -> Iterator[Sshd]:
    """A remote with nssh on it, whose loopback is not the laptop's."""
    with Namespace() as network, Sshd(network=network) as sshd:
        yield prepared(sshd)


@pytest.fixture
def laptop(apart: Sshd) -> Iterator[Laptop]:
    with seen_off(Laptop(apart.client)) as laptop:
        yield laptop


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()
