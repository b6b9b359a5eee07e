from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests import unsteady
from tests.unsteady import ROOT, Unsteady, for_good, parse

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 12, 24)
ENTRY = '[[test]]\nid = "tests/local/test_a.py::test_b"\nuntil = 2026-12-24\nwhy = "another program\'s fault"\n'
LISTED = Unsteady("tests/local/test_a.py::test_b", TODAY, "another program's fault")


def test_an_entry() -> None:
    assert parse(ENTRY) == [LISTED]
    assert parse("") == []


@pytest.mark.parametrize("folder", ["tree", "supervision", "session", "bus", "relay", "soak"])
def test_a_lost_message_gets_no_second_go(folder: str) -> None:
    with pytest.raises(ValueError, match="no second go"):
        parse(ENTRY.replace("local", folder))


@pytest.mark.parametrize(
    "text",
    [
        ENTRY.replace("another program's fault", ""),
        ENTRY.replace("2026-12-24", '"2026-12-24"'),
        ENTRY.replace("2026-12-24", "2026-12-24T00:00:00"),
        ENTRY.replace("until", "til"),
        ENTRY + "times = 3\n",
        ENTRY.replace("[[test]]", "[[tests]]"),
        "[[test]]\n",
        "[[test",
    ],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        parse(text)


@pytest.mark.parametrize(
    ("failed", "today", "lost"),
    [
        ([], TODAY, []),
        ([LISTED.id], TODAY, []),
        ([LISTED.id], TODAY + timedelta(days=1), [LISTED.id]),
        ([LISTED.id, "tests/local/test_a.py::test_c"], TODAY, ["tests/local/test_a.py::test_c"]),
        ([LISTED.id + "[1]", "tests/local/test_a.py"], TODAY, [LISTED.id + "[1]", "tests/local/test_a.py"]),
    ],
)
def test_who_gets_a_second_go(failed: list[str], today: date, lost: list[str]) -> None:
    assert for_good(failed, [LISTED], today) == lost


@pytest.mark.parametrize(
    ("failed", "until", "status", "told"),
    [
        ([LISTED.id], "2999-01-01", 0, [LISTED.id]),
        ([LISTED.id], "2020-01-01", 1, [LISTED.id]),
        ([LISTED.id, "tests/tree/test_a.py::test_b"], "2999-01-01", 1, ["tests/tree/test_a.py::test_b"]),
        ([], "2999-01-01", 1, []),
        (None, "2999-01-01", 1, []),
    ],
)
def test_what_ci_is_told(
    *,
    failed: list[str] | None,
    until: str,
    status: int,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(unsteady, "LIST", tmp_path / "list")
    monkeypatch.setattr(unsteady, "FAILED", tmp_path / "failed")
    unsteady.LIST.write_text(ENTRY.replace("2026-12-24", until))
    if failed is not None:
        unsteady.FAILED.write_text(json.dumps(dict.fromkeys(failed, True)))
    assert unsteady.main() == status
    assert capsys.readouterr().out.splitlines() == told


MAKE = """#!/bin/sh
echo "$@" >>made
[ $(wc -l <made) != 1 ] || { mkdir -p .pytest_cache/v/cache; cp failed .pytest_cache/v/cache/lastfailed; }
exit $(sed -n "$(wc -l <made)p" ends)
"""


@pytest.mark.parametrize(
    ("failed", "ends", "runs", "status"),
    [
        ([], "0", 1, 0),
        ([LISTED.id], "2 0", 2, 0),
        ([LISTED.id], "2 2", 2, 2),
        ([LISTED.id, "tests/tree/test_a.py::test_b"], "2 0", 1, 1),
        ([], "2 0", 1, 1),
    ],
)
def test_ci_runs_again_what_is_listed_and_nothing_else(
    failed: list[str], ends: str, runs: int, status: int, tmp_path: Path
) -> None:
    """`make` is a stand-in that tells which tests failed, and ends as it is told."""
    for name in (".ci", ".venv/bin", "tests", "bin"):
        (tmp_path / name).mkdir(parents=True)
    for name in (".ci/tests", "tests/unsteady.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "tests/unsteady.toml").write_text(ENTRY.replace("2026-12-24", "2999-01-01"))
    (tmp_path / "failed").write_text(json.dumps(dict.fromkeys(failed, True)))
    (tmp_path / "ends").write_text(ends.replace(" ", "\n"))
    (tmp_path / "bin/make").write_text(MAKE)
    (tmp_path / "bin/make").chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), os.defpath])
    done = subprocess.run([tmp_path / ".ci/tests", "ARGS=x"], env={"PATH": path}, capture_output=True, check=False)
    made = (tmp_path / "made").read_text().splitlines()
    assert (done.returncode, len(made)) == (status, runs), done
    assert made[0] == "ARGS=x test"
    assert all("--last-failed " in again for again in made[1:])


def test_the_list_as_it_is() -> None:
    """Nobody is listed for longer than a month, or under a name that is no test's."""
    for one in parse(unsteady.LIST.read_text()):
        assert one.until <= datetime.now(UTC).date() + timedelta(days=31)
        path, _, name = one.id.partition("::")
        assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in (ROOT / path).read_text()
