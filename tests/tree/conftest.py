from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nssh.ssh import identity
from tests.lab.laptop import Laptop
from tests.lab.relay import RelayServer
from tests.lab.sshd import Sshd
from tests.tree.stage import Stage, Theatre

if TYPE_CHECKING:
    from collections.abc import Iterator


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
