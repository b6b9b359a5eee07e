"""How a question ends but by an answer: signals, a window that is closed, modes of the terminal that come back."""

from __future__ import annotations

import signal
import termios

import psutil
import pytest

from tests.tui.question import assert_cancelled, end, marked, question
from tests.tui.window import environment

pytestmark = pytest.mark.real  # each test is a program on a terminal of its own


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_signal_ends_the_program_with_its_terminal_restored(name: str, term: str) -> None:
    number = getattr(signal, name)
    with question(environ=environment(TERM=term)) as screen:
        screen.wait("Cancel")
        screen.window.wait_until(lambda: term == "dumb" or not screen.window.echo, "it reads keys")
        screen.window.signal(number)
        assert end(screen) == -number
        if term != "dumb":
            assert "Join" not in screen.text


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_below_the_launcher(name: str, term: str) -> None:
    number = getattr(signal, name)
    with question(foreground=True, environ=environment(TERM=term)) as screen:
        screen.wait("Cancel")
        screen.window.wait_until(lambda: term == "dumb" or not screen.window.echo, "it reads keys")
        screen.window.signal(number)
        assert end(screen) == 128 + number
        assert "heard True" in screen.text


def test_an_answer_below_the_launcher() -> None:
    with question(foreground=True) as screen:
        screen.wait(marked("Join"))
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines[-1] == 'answer: "j"'


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
@pytest.mark.parametrize("ignored", [["SIGHUP"], []])
def test_a_window_that_is_closed(ignored: list[str], term: str) -> None:
    """With SIGHUP ignored, the end of the terminal must be noticed all the same, rather than read for ever."""
    with question(ignore=ignored, environ=environment(TERM=term)) as screen:
        screen.wait("Cancel")
        screen.window.hang_up()
        assert screen.window.wait() == (130 if ignored else -signal.SIGHUP)


def test_an_ignored_signal_stays_ignored() -> None:
    with question(ignore=["SIGTERM"]) as screen:
        screen.wait("Cancel")
        screen.window.signal(signal.SIGTERM)
        screen.window.send(b"\r")
        assert end(screen) == 0


def test_unusual_modes_of_the_terminal_come_back() -> None:
    with question(waits=True) as screen:
        modes = screen.window.attributes()
        modes[0] &= ~termios.ICRNL
        modes[3] &= ~termios.ECHOE
        modes[6][termios.VINTR] = b"\x07"
        screen.window.set_attributes(modes)
        screen.window.send(b"go\n")
        screen.wait("Cancel")
        screen.window.send(b"r")
        assert screen.window.wait() == 0
        assert screen.window.attributes() == modes


def test_it_waits_without_work() -> None:
    with question() as screen:
        screen.wait("Cancel")
        process = psutil.Process(screen.window.pid)
        before = process.cpu_times().user
        process.cpu_percent()
        assert process.cpu_percent(1.0) < 50
        assert process.cpu_times().user - before < 1
        screen.window.send(b"\x03")
        assert_cancelled(screen)
