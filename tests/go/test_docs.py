"""docs/go.md names a test for each of its claims."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/go.md").read_text(encoding="utf-8")


def test_each_claim_has_a_test_that_exists() -> None:
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert not named - there
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "tested by" not in line]
    assert len(rows) > 15
    assert not [row for row in rows if "`test_" not in row.rstrip(" |").rpartition("|")[2]]
