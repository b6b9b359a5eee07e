"""Programs for the tests of processes, and waiting for what they do."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.supervision import ChildSpec, Ended, Process, Program

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
"""Seconds after which something that should happen does not."""


def children() -> set[str]:
    """Return the PIDs of this process's children, zombies included; tests before may have left some that serve others.

    Empty where /proc does not tell.
    """
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


SLEEP = ("sleep", "600")
DEAF = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 600; done")
READER = ("cat",)
"""Ends with its stdin."""
BEATING = """
import sys, time
from actors.supervision import Heartbeat
heart = Heartbeat.adopt()
while True:
    heart.beat()
    heart._last = None
    time.sleep({pause})
"""


def python(code: str) -> tuple[str, ...]:
    """Return the words that run some code with our packages at hand."""
    return (sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {os.fspath(ROOT)!r})\n{code}")


def beating(pause: float = 0.05) -> tuple[str, ...]:
    return python(BEATING.format(pause=pause))


def child(
    *argv: str, health: float | None = None, shutdown: float = 5.0, startup: float = 10.0, **how: Any
) -> ChildSpec:
    return ChildSpec("child", Program(argv, **how), startup=startup, shutdown=shutdown, health=health)


def started(spec: ChildSpec) -> Process:
    process = Process(spec)
    process.start(time.monotonic())
    return process


def drive(process: Process, condition: Callable[[], object] = lambda: False) -> Ended | None:
    """Look after a process as a loop would, until it ends or a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        now = time.monotonic()
        assert now < deadline, "it did not come to pass"
        if (ended := process.step(now)) is not None:
            return ended
        wait = process.timeout(now)
        select.select(process.descriptors, [], [], 0.05 if wait is None else min(wait, 0.05))
    return None


def end_of(process: Process) -> Ended:
    ended = drive(process)
    assert ended is not None
    return ended
