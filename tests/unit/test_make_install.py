"""`make install` compiles what it installs; what was compiled never outlives its source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
# The launcher, and the bridge with what it imports at its start.
MODULES = "nssh.launch.launcher, actors.tree"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources, without anything compiled."""
    for name in ("nssh", "actors"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def install(tree: Path, environ: dict[str, str]) -> None:
    """Run `make install` with the environment that is there: what pip does is not looked at here."""
    venv = Path(sys.prefix)
    command = ["make", "--silent", f"VENV={venv}", f"--old-file={venv}/.installed", "install"]
    done = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def run(tree: Path, environ: dict[str, str], code: str = f"import {MODULES}") -> tuple[str, set[str], set[str]]:
    """Run some code; return its output, and which of our modules came compiled and which from their source."""
    command = [sys.executable, "-P", "-v", "-c", code]
    env = {**environ, "PYTHONPATH": os.fspath(tree)}
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=100, check=True)
    found = re.findall(r"^# code object from '?(.*?)'?$", done.stderr, re.MULTILINE)
    ours = {path for path in found if f"{tree}/" in path}
    return (
        done.stdout,
        {path for path in ours if path.endswith(".pyc")},
        {path for path in ours if path.endswith(".py")},
    )


@pytest.mark.parametrize("prefix", [False, True], ids=["in-place", "with-a-prefix"])
def test_after_make_install_nothing_is_compiled_any_more(tree: Path, *, prefix: bool) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    if prefix:
        environ["PYTHONPYCACHEPREFIX"] = f"{tree}/compiled"
    _, compiled, source = run(tree, environ)
    assert not compiled
    assert len(source) > 50, "or there is nothing to see"
    install(tree, environ)
    _, compiled, left = run(tree, environ)
    assert not left
    assert len(compiled) == len(source)


def test_what_was_compiled_does_not_outlive_its_source(tree: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    install(tree, environ)
    source = tree / "nssh/__init__.py"
    changed = source.read_text().replace('__version__ = "', '__version__ = "9')
    assert changed != source.read_text()
    source.write_text(changed)
    said, _, left = run(tree, environ, "import nssh; print(nssh.__version__)")
    assert said.startswith("9")
    assert left == {os.fspath(source)}
    install(tree, environ)
    said, compiled, left = run(tree, environ, "import nssh; print(nssh.__version__)")
    assert said.startswith("9")
    assert (len(compiled), left) == (1, set())
