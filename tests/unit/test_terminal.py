from __future__ import annotations

import os
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROLOGUE = """\
import os, signal, sys, termios, tty
from nssh.base.terminal import Terminal
terminal = Terminal()
before = termios.tcgetattr(0) if os.isatty(0) else None
"""


class Window:
    """A terminal, and programs that have it as theirs."""

    def __init__(self) -> None:
        self.fd, self.slave = os.openpty()
        self.before = termios.tcgetattr(self.slave)

    def run(self, code: str, term: str = "xterm", **files: Any) -> bytes:
        """Run Python code after the prologue, as the leader of a session on this terminal; return what that showed."""
        files = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave} | files
        own = f"import fcntl, termios; fcntl.ioctl({self.slave}, termios.TIOCSCTTY, 0)\n"
        done = subprocess.run(
            [sys.executable, "-c", own + PROLOGUE + code + "\nos.write(2, b'END')"],
            check=False,
            timeout=60,
            start_new_session=True,
            pass_fds=[self.slave],
            env={**os.environ, "TERM": term},
            **files,
        )
        assert done.returncode == 0
        shown = b""
        while not shown.endswith(b"END"):
            shown += os.read(self.fd, 4096)
        return shown.removesuffix(b"END")

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)


@pytest.fixture
def window() -> Iterator[Window]:
    one = Window()
    yield one
    os.close(one.fd)
    os.close(one.slave)


def test_the_modes_are_as_they_were(window: Window) -> None:
    window.run("tty.setraw(0)")
    assert window.modes() != window.before
    termios.tcsetattr(window.slave, termios.TCSANOW, window.before)
    window.run("tty.setraw(0); terminal.restore()")
    assert window.modes() == window.before


def test_they_are_what_the_user_had_and_not_some_default(window: Window) -> None:
    odd = termios.tcgetattr(window.slave)
    odd[3] &= ~(termios.ECHO | termios.ICANON)
    odd[6][termios.VINTR] = b"\x07"
    termios.tcsetattr(window.slave, termios.TCSANOW, odd)
    odd = window.modes()
    window.run("tty.setraw(0); terminal.restore()")
    assert window.modes() == odd != window.before


MODES = ["?1000", "?1002", "?1003", "?1006", "?1015", "?1004", "?2004", "?1047", "?1"]


def test_what_full_screen_programs_switch_on_is_switched_off(window: Window) -> None:
    shown = window.run("terminal.restore()").decode()
    for mode in MODES:
        assert f"\x1b[{mode}l" in shown
    assert "\x1b[?25h" in shown
    # Nothing that prints, moves the cursor, or would be undone by a later part.
    assert shown.count("\x1b") == shown.count("l") + len(["keypad", "keyboard protocol", "cursor", "colours"])
    assert not any(f"\x1b[{mode}h" in shown for mode in MODES)
    assert "\x1b[?1049l" not in shown


@pytest.mark.parametrize("term", ["", "dumb"])
def test_a_dumb_terminal_gets_its_modes_and_no_sequence(window: Window, term: str) -> None:
    assert window.run("tty.setraw(0); terminal.restore()", term) == b""
    assert window.modes() == window.before


def test_without_reset_there_are_the_modes_alone(window: Window) -> None:
    assert window.run("tty.setraw(0); terminal.restore(reset=False)") == b""
    assert window.modes() == window.before


def test_it_is_done_once(window: Window) -> None:
    once = window.run("terminal.restore()")
    assert once != b""
    assert window.run("terminal.restore(); terminal.restore()") == once
    # What somebody set after it stays.
    window.run("terminal.restore(); tty.setraw(0); terminal.restore()")
    assert window.modes() != window.before


def test_output_that_is_no_terminal_gets_no_sequence(window: Window) -> None:
    reader, writer = os.pipe()
    assert window.run("tty.setraw(0); terminal.restore()", stdout=writer) == b""
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b""
    assert window.modes() == window.before


def test_standard_error_will_do_where_the_others_are_redirected(window: Window) -> None:
    code = "tty.setraw(2); terminal.restore()"
    window.run(code, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert window.modes() == window.before


def test_in_the_background_the_terminal_is_somebody_elses(window: Window) -> None:
    """Writing its modes would stop us; and whoever is in front has set them."""
    code = """
tty.setraw(0)
raw = termios.tcgetattr(0)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    terminal.restore()
    os._exit(0)
status = os.waitpid(child, os.WUNTRACED)[1]
assert status == 0, status
assert termios.tcgetattr(0) == raw
"""
    assert window.run(code) == b""


def test_a_terminal_that_is_gone_is_no_error() -> None:
    code = PROLOGUE + "sys.stdin.readline(); signal.signal(signal.SIGHUP, signal.SIG_IGN); os.write(4, b'x')\n"
    code += "try: os.read(0, 1)\nexcept OSError: pass\nterminal.restore(); os.write(4, b'restored')"
    fd, slave = os.openpty()
    reader, writer = os.pipe()
    own = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    move = f"import os; os.dup2({writer}, 4)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", own + move + code],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=[writer],
    )
    os.close(slave)
    os.close(writer)
    os.write(fd, b"go\n")
    assert os.read(reader, 1) == b"x"
    os.close(fd)
    _, errors = process.communicate(timeout=60)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"restored", errors
    assert process.returncode == 0


def test_no_terminal_at_all_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + "terminal.restore(); print('fine')"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"fine\n", b"")


@pytest.mark.parametrize(("term", "count"), [("xterm", "8"), ("xterm-256color", "256"), ("dumb", "8"), ("vt100", "8")])
def test_the_colors_of_a_terminal_are_told_without_another_program(term: str, count: str) -> None:
    environ = {"TERM": term, "PATH": "/nonexistent", "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "from nssh.base import terminal; print(terminal.colors())"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == f"{count}\n"


@pytest.mark.parametrize("says", ["256", "-1", ""])
def test_what_python_does_not_know_mosh_is_asked(tmp_path: Path, says: str) -> None:
    (tmp_path / "mosh-client").write_text(f"#!/bin/sh\n[ \"$*\" != -c ] || echo '{says}'\n")
    (tmp_path / "mosh-client").chmod(0o755)
    environ = {"TERM": "no-such-terminal", "PATH": f"{tmp_path}:/bin", "PYTHONPATH": os.pathsep.join(sys.path)}
    for code in ("", "import sys; sys.modules['_curses'] = None; "):
        argv = [sys.executable, "-c", f"{code}from nssh.base import terminal; print(terminal.colors())"]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
        assert done.stdout == ("256\n" if says == "256" else "8\n")
