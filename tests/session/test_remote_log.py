"""`session-open` in the remote's event log."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from nssh import __version__
from tests.lab.laptop import NSSH, RemoteShell
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.session.support import forget

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


@pytest.fixture
def log(remote: Sshd) -> Path:
    """The remote's event log, empty."""
    path = remote.state / "nssh/log.jsonl"
    path.unlink(missing_ok=True)
    return path


def opens(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [event for event in map(json.loads, lines) if event["event"] == "session-open"]


def test_a_session_is_told_once_also_if_its_bridge_prepares_the_remote_again(laptop: Laptop, log: Path) -> None:
    """The bridge prepares the remote where the session file there is right already: no login comes before ssh."""
    with RemoteShell(laptop):
        laptop.wait_up()
    laptop.wait_gone()
    log.unlink()
    with RemoteShell(laptop) as shell:
        (record,) = laptop.wait_up()
        (told,) = opens(log)
        assert (told["side"], told["target"], told["server"]) == ("session-init", "devbox", record.server)
        assert (told["version"], record.topic in log.read_text()) == (__version__, False)
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        psutil.Process(record.bridge).kill()
        wait_until(lambda: laptop.sessions()[0].bridge not in {0, record.bridge}, "the bridge is restarted")
        laptop.wait_up()  # which waits until the remote is prepared
        assert shell.run("true") == (0, b"")
        assert len(opens(log)) == 1


def test_a_login_that_prepares_the_remote_tells_it_once(laptop: Laptop, log: Path) -> None:
    forget(laptop)
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env) as window:
        laptop.wait_up()
        assert len(opens(log)) == 1
        window.send(b"exit\r")
        window.wait()


def test_a_link_in_the_logs_place_is_not_followed(laptop: Laptop, log: Path, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", log)
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        assert shell.run("true") == (0, b"")
        assert not laptop.sessions()[0].problem
    assert not (tmp_path / "elsewhere").exists()
    log.unlink()
