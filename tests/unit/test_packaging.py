"""What is not Python and belongs to the program is in its package."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_is_shipped() -> None:
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    others = [
        path
        for package in ("nssh", "actors")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".md"}
    ]
    assert len(others) >= 5, "the scripts"
    assert [path for path in others if not any(fnmatch(path.name, pattern) for pattern in shipped)] == []
