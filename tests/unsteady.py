"""Which of the tests that failed get a second go: `python -m tests.unsteady`, behind a run of pytest that failed.

It prints the ids of the failed tests and exits with 0 if every one of them is listed in `unsteady.toml`; otherwise it
prints those that are not and exits with 1. `.ci/tests` runs it.
"""

from __future__ import annotations

import json
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests/unsteady.toml"
FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"

NEVER = ("bus", "go", "relay", "session", "soak", "supervision", "tree")
"""Folders of tests that get no second go: one failure in a thousand of theirs may be a message lost in a thousand."""


class Unsteady(NamedTuple):
    """One entry of the list."""

    id: str
    until: date
    """The last day on which it gets a second go."""
    why: str


def parse(text: str) -> list[Unsteady]:
    """Read the list.

    Raises:
        ValueError: It is no TOML, or an entry lacks something, has too much, or names a test that must not be listed.
    """
    document = tomllib.loads(text)
    entries = document.pop("test", [])
    if document:
        raise ValueError(f"unknown: {', '.join(document)}")
    found = []
    for entry in entries:
        one = Unsteady(**entry) if entry.keys() == set(Unsteady._fields) else None
        if one is None or not one.why or type(one.until) is not date:
            raise ValueError(f"an entry has an id, a date until, and a reason why: {entry}")
        if one.id.startswith(tuple(f"tests/{folder}/" for folder in NEVER)):
            raise ValueError(f"tests of this folder get no second go: {one.id}")
        found.append(one)
    return found


def for_good(failed: list[str], listed: list[Unsteady], today: date) -> list[str]:
    """Return those of the failed tests that get no second go."""
    spared = {one.id for one in listed if today <= one.until}
    return [test for test in failed if test not in spared]


def main() -> int:
    failed = list(json.loads(FAILED.read_text())) if FAILED.exists() else []
    lost = for_good(failed, parse(LIST.read_text()), datetime.now(UTC).date())
    sys.stdout.writelines(f"{test}\n" for test in lost or failed)
    # Without a test that failed it was something else: pytest itself, or what is around it.
    return 1 if lost or not failed else 0


if __name__ == "__main__":
    sys.exit(main())
