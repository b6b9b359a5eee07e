"""What the program says, and its exit codes, where no remote is needed."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from nssh.cli import usage
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


@pytest.mark.parametrize("words", ["sweep a --older --help", "infect a -p 1 --help", "status --tail --help"])
def test_help_is_given_wherever_it_is_asked_for(run: Run, words: str) -> None:
    done = run(*words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: nssh {words.split(maxsplit=1)[0]} ")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal_of_80_columns_whatever_the_terminal(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = usage.text(command)
    assert max(map(len, text.splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "30")
    assert usage.text(command) == text


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_the_help_of_nssh_itself_names_every_option_that_is_read() -> None:
    own = set(re.findall(r'"(--[a-z-]+)"', (ROOT / "nssh/ssh/argv.py").read_text()))
    assert own == options_in(usage.MAIN) - {"--help", "--version"}


@pytest.mark.parametrize(
    ("command", "pages"),
    [
        ("sweep", ["sweep"]),
        ("doctor", ["doctor"]),
        ("infect", ["guide"]),
        ("status", ["guide"]),
        ("copy", ["guide"]),
        ("paste", ["guide"]),
    ],
)
def test_the_docs_name_every_option_of_a_command(command: str, pages: list[str]) -> None:
    told = "".join((ROOT / f"docs/{page}.md").read_text() for page in pages)
    assert options_in(usage.text(command)) - options_in(told) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_docs_name_no_option_that_a_command_does_not_have(command: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = [
        (page.name, line)
        for page in pages
        for line in re.findall(rf"\bnssh {command}( [^`\n#|]*)", page.read_text())
        if options_in(line) - options_in(usage.text(command)) - {"--help"}
    ]
    assert found == []


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
        ("sweep", "nssh sweep"),
        ("sweep --bogus a", "nssh sweep"),
        ("sweep --older a", "nssh sweep"),
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


def test_a_sweep_that_would_have_to_ask_is_wrong_usage(run: Run) -> None:
    done = run("sweep", "a")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("nssh: no terminal to choose on")


@pytest.mark.parametrize(
    "words", [["status", "x\x1b[2J"], ["sweep", "a", "--\x1b]0;t\x07\n"], ["doctor", "--json=\x9b2J", "a"]]
)
def test_what_was_typed_is_told_as_one_printable_line(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nssh: ")
    assert done.stderr.removesuffix("\n").isprintable()


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
