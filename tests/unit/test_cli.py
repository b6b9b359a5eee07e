"""What the program says, and its exit codes, where no remote is needed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from nssh.argv import USAGE
from tests.lab.laptop import NSSH, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run nssh without a terminal, with a HOME of its own."""

    def run(*arguments: str, stdout: int = subprocess.PIPE, **more: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "NSSH_"))}
        env |= {"HOME": os.fspath(tmp_path), "LANG": "C.UTF-8", "PYTHONPATH": os.fspath(ROOT), **more}
        return subprocess.run(
            [*NSSH, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("words", ["--help", "-h", "help", "infect --help", "infect -h", "status --help", "sweep -h"])
def test_help_is_there_for_every_command(run: Run, words: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{USAGE}\n", "")


@pytest.mark.parametrize(
    "words",
    ["", "--bogus", "status x", "status --bogus", "infect", "infect a b", "infect --x a", "infect --force --remove a"],
)
def test_wrong_usage_is_one_line_and_the_usage(run: Run, words: str) -> None:
    done = run(*words.split())
    assert done.returncode == 2
    assert done.stdout == ""
    line, _, usage = done.stderr.partition("\n")
    assert line.startswith("nssh: ")
    assert usage == f"{USAGE}\n"


@pytest.mark.parametrize("words", ["sweep", "sweep --bogus a", "sweep --older a", "sweep a"])
def test_wrong_usage_of_a_sweep_is_one_line(run: Run, words: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("nssh: ")


@pytest.mark.parametrize("command", [[], ["infect"]], ids=["connect", "infect"])
@pytest.mark.parametrize("host", ["a\nb", "a\x1b[31mb", "\x9b2Jx y"])
def test_a_host_that_would_steer_the_terminal_is_one_printable_line(run: Run, command: list[str], host: str) -> None:
    done = run(*command, "--", host)
    assert done.returncode == 1
    assert done.stderr.startswith("nssh: ")
    assert done.stderr.removesuffix("\n").isprintable()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_output_that_finds_no_space_is_one_line(run: Run) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = run("status", stdout=full)
    finally:
        os.close(full)
    assert (done.returncode, done.stderr) == (1, "nssh: No space left on device\n")


@pytest.mark.parametrize("module", ["nssh.cli", "nssh.config", "nssh.errors", "nssh.status"])
def test_ctrl_c_while_it_is_being_imported_shows_no_traceback(run: Run, tmp_path: Path, module: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        f"""
import os, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
"""
    )
    done = run("status", PYTHONPATH=f"{site}:{ROOT}")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
