"""What is not Python, and belongs to the program, is in files of its own, and in the package."""

from __future__ import annotations

import ast
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
    assert others, "or there is nothing to look at"
    assert [path for path in others if not any(fnmatch(path.name, pattern) for pattern in shipped)] == []


def test_no_shell_script_hides_in_python() -> None:
    """Where shellcheck doesn't look: a text of several lines, one of which only ends a shell's if, case or loop."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("nssh", "actors")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if {"fi", "esac", "done"} & {line.strip() for line in node.value.splitlines()[1:]}
    ]
    assert found == []
