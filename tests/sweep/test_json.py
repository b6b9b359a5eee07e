"""What `nssh sweep --json` tells is what docs/sweep.md says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from nssh.mosh import sweep_output
from nssh.mosh.end_servers import Fate
from nssh.mosh.mosh_servers import ClientState, MoshServer
from nssh.mosh.swept_host import ServerEntry, SweptHost

PAGE = (Path(__file__).parents[2] / "docs" / "sweep.md").read_text()
TYPES = {"string": str, "integer": int, "boolean": bool, "list": list, "null": type(None)}


def documented() -> dict[str, set[type]]:
    section = PAGE.partition("### `--json`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", section, re.MULTILINE)
    assert len(rows) == section.count("\n| `")
    return {name: {TYPES[word] for word in kinds.split(" or ")} for name, kinds in rows}


def told(host: SweptHost) -> dict[str, Any]:
    (shown,) = json.loads(sweep_output.as_json([host]))
    return dict(shown)


def test_json_tells_what_is_documented_in_these_types_and_nothing_else() -> None:
    host = SweptHost("devbox")
    bare = ServerEntry(host, MoshServer(7, "s", 60.4), wanted=False, spared="")
    full = ServerEntry(
        host, MoshServer(8, "t", 3.0, ClientState.DETACHED, 60.0, "192.0.2.7", 3.2, "vim"), wanted=True, spared="x"
    )
    full.chosen, full.fate = True, Fate.ENDED
    host.entries = [bare, full]
    expected = documented()
    for shown in (told(host), told(SweptHost("badbox", error="no route"))):
        assert [*shown, *shown["servers"][0]] == [*expected] if shown["servers"] else [*expected][: len(shown)]
        for fields in (shown, *shown["servers"]):
            for name, value in fields.items():
                assert type(value) in expected[name], name


def test_every_state_and_fate_is_documented() -> None:
    for word in (*ClientState, *Fate):
        assert f"`{word}`" in PAGE
