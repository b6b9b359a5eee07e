"""A remote on which all is well, with nssh on it and its shims first on every PATH, and laptops for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doctor.support import PATH_LINE
from tests.lab import ntfy, system
from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_well(remote: Sshd) -> None:
    """Install nssh, and put its shims first on the PATH of every bash."""
    Laptop(remote.client).infect()
    remote.write_home(".profile", PATH_LINE)
    remote.write_home(".bashrc", PATH_LINE)


@pytest.fixture(scope="module")
def remote() -> Iterator[Sshd]:
    """A remote for the tests of a module, which leave it as it was."""
    system.require("mosh-server", "mosh-client")
    with Sshd() as sshd:
        make_well(sshd)
        yield sshd


@pytest.fixture
def own() -> Iterator[Sshd]:
    """A remote that a test may break: a second account, so that permissions mean something."""
    with Sshd(account=True, shell="bash") as sshd:  # noqa: S604 - the account's login shell
        make_well(sshd)
        yield sshd


@pytest.fixture(scope="module")
def server() -> Iterator[ntfy.NtfyServer]:
    """A real ntfy server that wants credentials."""
    ntfy.require_ntfy()
    with ntfy.running(auth=True) as server:
        yield server


@pytest.fixture
def laptop(remote: Sshd) -> Iterator[Laptop]:
    """A laptop that uses the relay."""
    laptop = Laptop(remote.client)
    yield laptop
    laptop.wait_gone()


@pytest.fixture(params=["relay", "ntfy"])
def either(request: pytest.FixtureRequest, remote: Sshd) -> Iterator[Laptop]:
    """A laptop on the relay, and one on ntfy."""
    config = ""
    if request.param == "ntfy":
        server = request.getfixturevalue("server")
        config = f'server = "{server.url}"\ntoken = "{server.token}"'
    laptop = Laptop(remote.client, config)
    yield laptop
    laptop.wait_gone()
