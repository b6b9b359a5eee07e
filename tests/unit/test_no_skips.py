from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest

@pytest.mark.skipif(True, reason="no such program")
def test_marked(): pass

def test_called():
    pytest.skip("no such program")

@pytest.fixture
def missing():
    pytest.skip("no such program")

def test_given(missing): pass

@pytest.mark.skipif(True, reason="root writes anywhere")
def test_for_others(): pass

def test_passes(): pass
"""


def outcomes(directory: Path, environ: Mapping[str, str]) -> str:
    (directory / "test_it.py").write_text(TESTS)
    kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", directory, "-p", "tests.no_skips",
         "-p", "no:cacheprovider", "-p", "no:xdist", directory / "test_it.py"],
        cwd=ROOT, env={**kept, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.splitlines()[-1].rpartition(" in ")[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may not skip")
def test_in_ci_a_skipped_test_fails_unless_it_is_not_for_root(tmp_path: Path) -> None:
    assert set(outcomes(tmp_path, {"CI": "true"}).split(", ")) == {"1 passed", "1 skipped", "1 failed", "2 errors"}


def test_elsewhere_it_is_skipped(tmp_path: Path) -> None:
    assert set(outcomes(tmp_path, {}).split(", ")) == {"1 passed", "4 skipped"}
