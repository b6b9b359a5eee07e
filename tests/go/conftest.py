"""A real ntfy server, one remote with the Go program's shims and one with ours, and a laptop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.go.support import GoDesk, GoSession, OwnDesk, install_on_remote
from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import ntfy


@pytest.fixture(scope="module")
def remote() -> Iterator[Sshd]:
    """A remote with our shims."""
    with Sshd() as sshd:
        Laptop(sshd.client).infect()
        # The Go program looks for nssh with a login shell's PATH.
        sshd.write_home(".bash_profile", 'PATH="$HOME/.local/bin:$PATH"\n')
        yield sshd


@pytest.fixture(scope="module")
def go_remote() -> Iterator[Sshd]:
    """A remote with the stand-in's shims."""
    with Sshd() as sshd:
        install_on_remote(sshd.home)
        yield sshd


def _laptop(remote: Sshd, server: ntfy.NtfyServer) -> Iterator[Laptop]:
    laptop = Laptop(remote.client, f'server = "{server.url}"')
    yield laptop
    laptop.wait_gone()
    assert laptop.tracebacks() == ""
    assert laptop.sessions() == []


@pytest.fixture
def laptop(remote: Sshd, ntfy_server: ntfy.NtfyServer) -> Iterator[Laptop]:
    """A laptop whose remote has our shims; nothing of it may run when the test is over."""
    yield from _laptop(remote, ntfy_server)


@pytest.fixture
def laptop_of_go_remote(go_remote: Sshd, ntfy_server: ntfy.NtfyServer) -> Iterator[Laptop]:
    """A laptop whose remote has the stand-in's shims."""
    yield from _laptop(go_remote, ntfy_server)


@pytest.fixture
def go_desk(laptop: Laptop) -> GoDesk:
    """What the stand-in's sessions do on this laptop."""
    return GoDesk(laptop.client.home / "go-desk")


@pytest.fixture
def own_desk(laptop: Laptop) -> OwnDesk:
    """What our sessions do on this laptop."""
    return OwnDesk(laptop)


@pytest.fixture
def go(laptop: Laptop, go_desk: GoDesk) -> Iterator[GoSession]:
    """A live session of the Go program."""
    with GoSession(laptop, go_desk) as session:
        session.wait_did("subscribed")
        yield session
