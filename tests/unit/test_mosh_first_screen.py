"""The signals that bring mosh's first screen sooner: a few, to the child alone, and none after its end."""

from __future__ import annotations

import subprocess
import sys
import time

from nssh.launch.mosh_first_screen import EarlyResizes

_COUNTER = """
import signal, sys
for _ in range(2):
    signal.sigwait({signal.SIGWINCH})
    print("resized", flush=True)
sys.stdin.read()
"""


def play(nudges: EarlyResizes, pid: int) -> int:
    """Do what the launcher's loop does, until nothing is due any more; return how often it was woken."""
    turns = 0
    while (pause := nudges.tick(pid)) is not None:
        turns += 1
        time.sleep(pause)
    return turns


def test_nothing_is_due_before_a_client_was_started() -> None:
    assert EarlyResizes().tick(1) is None


def test_a_client_is_told_of_its_size_more_than_once_within_its_first_moments() -> None:
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})"
    command = [sys.executable, "-c", f"{block}\nprint(flush=True){_COUNTER}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        nudges = EarlyResizes()
        nudges.plan()
        assert 2 <= play(nudges, child.pid) <= 8
        assert [child.stdout.readline() for _ in range(2)] == ["resized\n"] * 2
        assert child.poll() is None


def test_a_client_that_has_ended_ends_them() -> None:
    nudges = EarlyResizes()
    nudges.plan()
    assert nudges.tick(0) is None
    assert nudges.tick(1) is None
