"""`nssh status` beside real sessions."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.laptop import NSSH, RemoteShell
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from tests.lab.laptop import Laptop

pytestmark = pytest.mark.real


def test_a_tail_shows_two_sessions_from_their_start_to_their_end(laptop: Laptop) -> None:
    earlier = len(laptop.events())
    with subprocess.Popen(
        [*NSSH, "status", "--tail", "--since", "0", "--json"], env=laptop.env, stdout=subprocess.PIPE, text=True
    ) as tail:
        try:
            with RemoteShell(laptop) as first:
                laptop.wait_up()
                with RemoteShell(laptop):
                    wait_until(
                        lambda: sorted(one.role for one in laptop.sessions()) == ["leader", "standby"], "both are there"
                    )
                    told = json.loads(laptop.run("status", "--json").stdout)
                    # Who stands by follows no bus: that is not one that is down.
                    assert sorted((one["state"], one["bus"]) for one in told) == [("alive", "up"), ("standby", "")]
                    assert re.search(r"^  bus \S+, stands by,", laptop.run("status").stdout, re.MULTILINE)
                    assert first.run("xdg-open http://example.com/tail") == (0, b"")
                    laptop.wait_opened("http://example.com/tail")
            logged = laptop.events()[earlier:]
            seen: list[dict[str, Any]] = []
            assert tail.stdout is not None
            while sum(event["event"] == "session-end" for event in seen) < 2:
                seen.append(json.loads(tail.stdout.readline()))
        finally:
            tail.terminate()
    laptop.wait_gone()
    assert {"session-start", "leader", "standby", "subscribe-up", "msg-recv", "session-end"} <= {
        event["event"] for event in seen
    }
    lines = [json.dumps(event) for event in seen]
    assert len(set(lines)) == len(lines), "none twice"
    assert {json.dumps(event) for event in logged} <= set(lines), "none left out"
    # A look back at sessions that ended.
    with subprocess.Popen(
        [*NSSH, "status", "--tail", "--since", "1h"], env=laptop.env, stdout=subprocess.PIPE, text=True
    ) as tail:
        try:
            assert tail.stdout is not None
            ends = 0
            while ends < 2:
                line = tail.stdout.readline()
                ends += " session-end " in line and " devbox " in line
        finally:
            tail.terminate()
