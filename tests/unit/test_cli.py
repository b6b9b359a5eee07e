"""What the program says, and its exit codes, where no remote is needed."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import UsageError
from nssh.cli import main, usage
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


COMMANDS = ("infect", "status", "doctor", "sweep", "copy", "paste")


@pytest.mark.parametrize("words", ["--help", "-h", "help", "help nonsense"])
def test_help_names_every_command(run: Run, words: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: nssh [options] <host>")
    for command in COMMANDS:
        assert re.search(rf"^  (\w+, )?{command}\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("words", ["{} --help", "{} -h", "help {}"])
def test_every_command_has_a_help_of_its_own(run: Run, words: str, command: str) -> None:
    done = run(*words.format(command).split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: nssh {command} ")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal_and_names_only_options_that_are_read(command: str) -> None:
    text = usage.text(command)
    assert max(map(len, text.splitlines())) <= 80
    for option in set(re.findall(r"--[a-z-]+", text)) - {"--help", "--version"}:
        value = ["1h"] if option in {"--since", "--older", "--min-age", "--timeout"} else []
        with pytest.raises(UsageError, match="no-such-option"):
            main._run([*command.split(), option, *value, "--no-such-option"])


def test_help_names_every_option_that_is_read() -> None:
    read: set[str] = set()
    for module in ("cli/main.py", "ssh/argv.py", "sweep/options.py", "doctor/options.py"):
        read |= set(re.findall(r'"(--[a-z-]+)"', (ROOT / "nssh" / module).read_text()))
    told = "".join(map(usage.text, ("", *COMMANDS)))
    assert len(read) > 15
    assert not {option for option in read if not re.search(rf"{option}\b", told)}


@pytest.mark.parametrize(
    ("words", "help_of"),
    [
        ("", "nssh"),
        ("--bogus", "nssh"),
        ("devbox --bogus", "nssh"),
        ("status x", "nssh status"),
        ("status --bogus", "nssh status"),
        ("infect", "nssh infect"),
        ("infect a b", "nssh infect"),
        ("infect --x a", "nssh infect"),
        ("infect a --x", "nssh infect"),
        ("infect --force --remove a", "nssh infect"),
        ("doctor a --bogus", "nssh doctor"),
        ("doctor a b", "nssh doctor"),
        ("copy --file", "nssh copy"),
        ("paste x", "nssh paste"),
        ("paste --x", "nssh paste"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(run: Run, words: str, help_of: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"nssh: .+; see {help_of} --help\n", done.stderr)


@pytest.mark.parametrize("words", ["infect --remove {}", "infect {} --remove", "doctor --json {}", "doctor {} --json"])
def test_own_options_stand_on_either_side_of_the_host(run: Run, words: str) -> None:
    done = run(*words.format("nowhere.invalid").split(), NSSH_SSH="/nowhere/ssh")
    assert done.returncode == 1
    assert "option" not in done.stderr


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


@pytest.mark.parametrize("module", ["nssh.cli.main", "nssh.config.settings", "nssh.base.errors", "nssh.cli.status"])
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


def test_mosh_without_a_terminal_is_wrong_usage(run: Run) -> None:
    done = run("--mosh", "devbox")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nssh: mosh needs a terminal, and standard input is none; use --ssh\n"
