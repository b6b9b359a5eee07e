"""Small programs that stand in for a browser, for a tool of macOS, or for one that misbehaves; named so where used."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 20.0


class ScriptDir:
    """A directory of sh scripts, to be put on a PATH."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self.path = path

    def add(self, name: str, body: str) -> str:
        script = self.path / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        return str(script)

    def recorder(self, name: str, body: str = "") -> Path:
        """Add a script that records its arguments, a line each and an empty line at the end, before it runs `body`."""
        record = self.path / f"{name}.record"
        # printf in one write of its own: two launchers can't mix their lines
        self.add(name, f"printf '%s\\n' \"$0\" \"$@\" '' >>{shlex.quote(str(record))}\n{body}")
        return record

    def python(self, name: str, body: str) -> str:
        script = self.path / name
        script.write_text(f"#!{sys.executable}\n{body}\n")
        script.chmod(0o755)
        return str(script)


def calls(record: Path) -> list[list[str]]:
    """Return the arguments of each call that a recorder saw."""
    if not record.exists():
        return []
    return [call.split("\n")[1:] for call in record.read_text().split("\n\n") if call]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll, from 5 ms on with doubling pauses, until a condition holds."""
    pause, deadline = 0.005, time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(pause)
        pause = min(pause * 2, 0.2)


def process_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"
