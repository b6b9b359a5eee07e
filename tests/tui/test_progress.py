"""The progress of several hosts, on a real terminal. The program does a step for each line it reads from a pipe."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Self

import pytest

from tests.lab.screen import Screen
from tests.lab.terminal import Terminal
from tests.tui.window import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real  # these tests start programs

PROGRAM = """\
import sys
from nssh.base.errors import NsshError
from nssh.tui import Progress
steps = iter(sys.stdin.readline, "")
with Progress("waiting for", sys.argv[1:]) as progress:
    for step in steps:
        what, _, rest = step.rstrip("\\n").partition(" ")
        if what == "done":
            progress.done(*rest.split(" ", 1))
        elif what == "note":
            progress.note(rest)
        elif what == "say":
            progress.note(rest, sys.stderr)
        elif what == "fail":
            raise NsshError("failed")
        else:
            break
print("over", "prompt_toolkit" in sys.modules, flush=True)
"""
SGR = re.compile(rb"\x1b\[([0-9;:]*)m")


class Window:
    """The program's window, and its pipe."""

    def __init__(self, screen: Screen, pipe: int) -> None:
        self.screen = screen
        self._pipe = pipe

    def tell(self, *steps: str) -> Self:
        os.write(self._pipe, "".join(f"{step}\n" for step in steps).encode())
        return self

    def end(self) -> int:
        code = self.screen.window.wait()
        assert self.screen.window.attributes() == self.screen.window.initial
        assert self.screen.cursor_shown
        for unwanted in (b"\x1b[6n", b"\x1b[?2004h", b"\x1b[?25l", b"Traceback"):
            assert unwanted not in self.screen.window.output
        return code


@contextlib.contextmanager
def running(
    *hosts: str, rows: int = 10, columns: int = 60, redirect: dict[int, int] | None = None, **changes: str
) -> Iterator[Window]:
    reader, writer = os.pipe()
    environ = environment(PYTHONPATH=os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]), **changes)
    command = [sys.executable, "-P", "-c", PROGRAM, *hosts]
    try:
        window = Terminal(command, environ, rows=rows, columns=columns, redirect={0: reader, **(redirect or {})})
        with window:
            yield Window(Screen(window, rows=rows, columns=columns), writer)
    finally:
        os.close(reader)
        os.close(writer)


def test_several_hosts_one_after_the_other() -> None:
    with running("alpha", "beta", "gamma", "delta") as window:
        screen = window.screen
        assert screen.wait("delta") == ["[               ] 0/4 waiting for alpha, beta, gamma, delta"]
        window.tell("done beta beta: 2 mosh-servers")
        lines = screen.wait("1/4")
        assert lines == ["beta: 2 mosh-servers", "[===            ] 1/4 waiting for alpha, gamma, delta"]
        window.tell("done alpha")
        assert screen.wait("2/4") == [lines[0], "[=======        ] 2/4 waiting for gamma, delta"]
        window.tell("say nssh: gamma: refused")
        screen.wait(lambda lines: lines[1:2] == ["nssh: gamma: refused"] and "2/4" in lines[-1])
        window.tell("done gamma", "done delta delta: none", "end")
        assert window.end() == 0
        assert screen.lines == ["beta: 2 mosh-servers", "nssh: gamma: refused", "delta: none", "over False"]


def test_what_is_printed_scrolls_and_none_of_it_is_lost() -> None:
    with running("alpha", "beta", rows=5) as window:
        window.screen.wait("0/2")
        window.tell(*(f"note line {number}" for number in range(50)))
        window.screen.wait(lambda lines: lines[-2:-1] == ["line 49"] and "0/2" in lines[-1])
        window.tell("end")
        assert window.end() == 0
        for number in range(50):
            assert window.screen.window.output.count(b"line %d\r\n" % number) == 1
        assert window.screen.lines[-2:] == ["line 49", "over False"]


def test_who_answers_at_once_is_not_made_to_wait() -> None:
    with running("alpha", "beta") as window:
        window.tell("done alpha alpha: 1", "done beta beta: 2", "end")
        assert window.end() == 0
        assert window.screen.lines == ["alpha: 1", "beta: 2", "over False"]


def test_one_host_is_a_line() -> None:
    with running("alpha") as window:
        screen = window.screen
        assert screen.wait("waiting") == ["waiting for alpha"]
        window.tell("note a note")
        screen.wait(lambda lines: lines == ["a note", "waiting for alpha"])
        window.tell("done alpha alpha: 3", "end")
        assert window.end() == 0
        assert screen.lines == ["a note", "alpha: 3", "over False"]


@pytest.mark.parametrize("columns", [60, 24, 12, 5])
@pytest.mark.parametrize("hosts", [["alpha.example.org"], [f"host{number}.example.org" for number in range(20)]])
def test_narrow_windows(hosts: list[str], columns: int) -> None:
    with running(*hosts, columns=columns) as window:
        screen = window.screen
        text = f"waiting for {hosts[0]}"
        screen.wait(lambda lines: len(lines) == 1 and (lines[0] == text or lines[0].endswith("\u2026")))
        window.tell("note ab")
        screen.wait(lambda lines: lines[:1] == ["ab"] and len(lines) == 2)
        window.tell("end")
        assert window.end() == 0
        assert "".join(screen.text.split()) == "aboverFalse"


def test_a_window_that_becomes_narrower() -> None:
    with running("alpha.example.org", "beta.example.org") as window:
        window.screen.wait("beta")
        window.screen.resize(10, 30)
        window.screen.wait("[       ] 0/2 waiting for alp\u2026")
        window.tell("end")
        assert window.end() == 0
        assert window.screen.lines[-1] == "over False"


@pytest.mark.parametrize("hosts", [["alpha"], ["alpha", "beta"]])
def test_no_colour_at_all(hosts: list[str]) -> None:
    with running(*hosts, NO_COLOR="1") as window:
        window.screen.wait("waiting")
        window.tell("done alpha ok", "end")
        assert window.end() == 0
        assert set(SGR.findall(window.screen.window.output)) <= {b"0"}


@pytest.mark.parametrize("hosts", [["alpha"], ["alpha", "beta"]])
def test_nothing_is_drawn_where_there_is_no_terminal(tmp_path: Path, hosts: list[str]) -> None:
    with open(tmp_path / "err", "w+b") as errors:
        with running(*hosts, redirect={2: errors.fileno()}) as window:
            window.tell("say on stderr", "done alpha on stdout", "end")
            assert window.end() == 0
            assert window.screen.window.output == b"on stdout\r\nover False\r\n"
        errors.seek(0)
        assert errors.read() == b"on stderr\n"


def test_nothing_is_drawn_on_a_terminal_without_cursor_movements() -> None:
    with running("alpha", "beta", TERM="dumb") as window:
        window.tell("done alpha alpha: 1", "end")
        assert window.end() == 0
        assert window.screen.window.output == b"alpha: 1\r\nover False\r\n"


def test_results_may_go_elsewhere(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+b") as results:
        with running("alpha", "beta", redirect={1: results.fileno()}) as window:
            window.screen.wait("0/2")
            window.tell("done alpha alpha: 1")
            assert window.screen.wait("1/2") == ["[=======        ] 1/2 waiting for beta"]
            window.tell("end")
            assert window.end() == 0
            assert window.screen.lines == []
        results.seek(0)
        assert results.read() == b"alpha: 1\nover False\n"


@pytest.mark.parametrize("hosts", [["a\x1b]0;x\x07\u202e"], ["a\x1b]0;x\x07\u202e", "b"]])
def test_names_and_results_are_harmless(hosts: list[str]) -> None:
    with running(*hosts) as window:
        window.screen.wait("waiting for a?]0;x??")
        window.tell("note c\x1b[2Jd\x9b", "end")
        assert window.end() == 0
        assert b"c?[2Jd?\r\n" in window.screen.window.output
        assert b"\x1b]0" not in window.screen.window.output


@pytest.mark.parametrize("hosts", [["alpha"], ["alpha", "beta"]])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_program_as_usual(name: str, hosts: list[str]) -> None:
    number = getattr(signal, name)
    with running(*hosts) as window:
        window.screen.wait("alpha")
        window.screen.window.signal(number)
        assert window.screen.window.wait() == -number
        assert window.screen.window.attributes() == window.screen.window.initial
        assert window.screen.cursor_shown
        assert window.screen.cursor[1] == 0


def test_output_that_the_user_has_stopped_is_waited_for() -> None:
    with running("alpha", "beta") as window:
        window.screen.wait("beta")
        terminal = window.screen.window
        terminal.send(b"\x13")
        window.tell("note late", "end")
        terminal.send(b"\x11")
        assert window.end() == 0
        assert window.screen.lines == ["late", "over False"]


def test_keys_are_left_alone() -> None:
    with running("alpha", "beta") as window:
        terminal = window.screen.window
        window.screen.wait("beta")
        assert terminal.echo
        assert terminal.attributes() == terminal.initial
        terminal.send(b"\x03")  # as ever
        assert terminal.wait() == -signal.SIGINT


@pytest.mark.parametrize("hosts", [["alpha"], ["alpha", "beta"]])
def test_an_error_leaves_nothing_behind(hosts: list[str]) -> None:
    with running(*hosts) as window:
        window.screen.wait("alpha")
        window.tell("fail")
        assert window.screen.window.wait() == 1
        assert window.screen.lines[0] == "Traceback (most recent call last):"
        assert window.screen.cursor_shown


def test_what_draws_is_not_imported_before_it_is_needed() -> None:
    program = "import nssh.tui, sys; print('prompt_toolkit' in sys.modules, 'asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=ROOT,
        env=environment(PYTHONPATH=ROOT),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"False False\n"
