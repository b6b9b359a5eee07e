"""What is told of a session from outside while a part of it is held: wedged, on a dead network, standing by."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.tools import wait_until
from tests.session.support import hold

if TYPE_CHECKING:
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


def told(laptop: Laptop, pid: int) -> dict[str, Any]:
    """Return what `nssh status --json` tells of a session."""
    sessions: list[dict[str, Any]] = json.loads(laptop.run("status", "--json").stdout)
    return next(one for one in sessions if one["pid"] == pid)


@pytest.mark.parametrize("victim", ["launcher", "bridge"])
def test_a_suspended_part_is_not_alive_and_alive_again_when_it_goes_on(
    laptop: Laptop, continued: list[int], victim: str
) -> None:
    with RemoteShell(laptop) as shell:
        [record] = laptop.wait_up()
        first = told(laptop, shell.pid)
        assert (first["alive"], first["state"]) == (True, "alive")
        assert 0 < first["rtt"] < 1.5
        pid = shell.pid if victim == "launcher" else record.bridge
        hold(pid, continued)
        held = told(laptop, shell.pid)
        assert (held["alive"], held["state"], held["rtt"]) == (False, "wedged", 0.0)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: told(laptop, shell.pid)["alive"], "alive again")


def test_a_relay_that_is_held_is_a_dead_bus_and_no_dead_session(
    relay_laptop: Laptop, remote: Sshd, continued: list[int]
) -> None:
    with RemoteShell(relay_laptop) as shell:
        relay_laptop.wait_up()
        relays = [one.pid for one in remote.leftovers() if "serve" in one.cmdline()]
        assert relays
        for pid in relays:
            hold(pid, continued)
        held = told(relay_laptop, shell.pid)
        assert (held["alive"], held["state"]) == (False, "bus-down")
        for pid in relays:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: told(relay_laptop, shell.pid)["alive"], "alive again")


def test_one_that_stands_by_is_alive_and_says_so_also_behind_a_wedged_one(laptop: Laptop, continued: list[int]) -> None:
    with RemoteShell(laptop) as first:
        [record] = laptop.wait_up()
        with RemoteShell(laptop) as second:
            wait_until(lambda: told(laptop, second.pid)["state"] == "standby", "it stands by")
            hold(record.bridge, continued)
            assert told(laptop, second.pid)["alive"] is True
            assert told(laptop, first.pid)["alive"] is False
            table = laptop.run("status").stdout
            assert "stands by" in table
            assert "does not answer" in table
            os.kill(record.bridge, signal.SIGCONT)
