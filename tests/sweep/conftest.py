"""One remote for the tests of a module, with an account of its own: a sweep sees all mosh-servers of the account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import system
from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def remote() -> Iterator[Sshd]:
    """A remote that is another account."""
    system.require("mosh-server", "mosh-client")
    with Sshd(account=True) as sshd:
        yield sshd


@pytest.fixture
def laptop(remote: Sshd) -> Iterator[Laptop]:
    """A laptop; nothing of it may run when the test is over."""
    laptop = Laptop(remote.client)
    yield laptop
    laptop.wait_gone()
    assert laptop.tracebacks() == ""
