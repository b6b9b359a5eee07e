"""One remote, installed on, and one laptop for the tests of a module; over the relay, and over a real ntfy server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import system
from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def terminals() -> None:
    """Sessions need terminals from the sshd."""
    reason = system.no_ptys()
    if reason:
        (pytest.fail if system.in_ci() else pytest.skip)(reason)


@pytest.fixture(scope="module")
def remote() -> Iterator[Sshd]:
    """A remote with nssh on it."""
    with Sshd() as sshd:
        Laptop(sshd.client).infect()
        yield sshd


@pytest.fixture
def relay_laptop(remote: Sshd) -> Iterator[Laptop]:
    """A laptop that uses the relay; nothing of it may run when the test is over."""
    laptop = Laptop(remote.client)
    yield laptop
    laptop.wait_gone()
    assert laptop.tracebacks() == ""
    assert laptop.sessions() == []


@pytest.fixture(params=["relay", "ntfy"])
def laptop(request: pytest.FixtureRequest, remote: Sshd) -> Iterator[Laptop]:
    """A laptop on the relay, and one on ntfy; nothing of it may run when the test is over."""
    config = ""
    if request.param == "ntfy":
        config = f'server = "{request.getfixturevalue("ntfy_server").url}"'
    laptop = Laptop(remote.client, config)
    yield laptop
    laptop.wait_gone()
    assert laptop.tracebacks() == ""
    assert laptop.sessions() == []
