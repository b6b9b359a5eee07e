"""The three sessions: started, joined, replaced, ended, and looked at from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import psutil

from nssh.state import session_records
from tests.lab.laptop import NSSH

if TYPE_CHECKING:
    from pathlib import Path

    from nssh.state.session_records import Record
    from tests.lab.laptop import Laptop

# How long a launcher remembers the death of a bridge, seconds, and how many it bears meanwhile; see nssh.launch.bridge.
_PERIOD = 65.0
_DEATHS = 4


class Session:
    """One `nssh devbox`, whose remote command gives back what it is given."""

    def __init__(self, laptop: Laptop, logs: Path, number: int, flag: str) -> None:
        """Start it; nothing is waited for.

        Args:
            laptop: Where.
            logs: What it writes goes to files there.
            number: Its own.
            flag: `--join` or `--replace`.
        """
        self._laptop = laptop
        self.number = number
        self.flag = flag
        self._out = logs / f"session-{number}.out"
        self.said = logs / f"session-{number}.err"
        with self._out.open("wb") as out, self.said.open("wb") as err:
            self.process = subprocess.Popen(
                [*NSSH, flag, "devbox", "exec cat"], env=laptop.env, stdin=subprocess.PIPE, stdout=out, stderr=err
            )
        self.launcher = psutil.Process(self.process.pid)
        self.expected = False
        """Whether it was ended, or may well end, because of what was done to it."""
        self._kills: list[float] = []
        self._echoes = 0

    @property
    def running(self) -> bool:
        """Whether its launcher is there."""
        return self.process.poll() is None

    @property
    def hung_up(self) -> bool:
        """Whether it was ended, and may take a moment."""
        assert self.process.stdin is not None
        return self.process.stdin.closed

    def record(self) -> Record | None:
        """Return its record."""
        return session_records.read(os.fspath(self._laptop.state / "sessions" / f"{self.process.pid}.json"))

    def child(self, *, bridge: bool) -> psutil.Process | None:
        """Return its bridge, or else its ssh."""
        with contextlib.suppress(psutil.Error):
            for child in self.launcher.children():
                with contextlib.suppress(psutil.Error):
                    if child.status() != psutil.STATUS_ZOMBIE and ("actors" in child.cmdline()) is bridge:
                        return child
        return None

    def may_lose_bridge(self) -> bool:
        """Whether its launcher would start another bridge, if that were killed once more; and count it."""
        now = time.monotonic()
        self._kills = [kill for kill in self._kills if now - kill < _PERIOD]
        if len(self._kills) >= _DEATHS:
            return False
        self._kills.append(now)
        return True

    def say(self) -> bytes:
        """Send a line, and return what must come back."""
        self._echoes += 1
        line = b"echo %d\n" % self._echoes
        with contextlib.suppress(BrokenPipeError):  # it has just ended
            assert self.process.stdin is not None
            self.process.stdin.write(line)
            self.process.stdin.flush()
        return line

    def hears(self, line: bytes) -> bool:
        """Whether a line came back, and before it each that was sent before."""
        expected = b"".join(b"echo %d\n" % number for number in range(1, self._echoes + 1))
        return expected.endswith(line) and self._out.read_bytes() == expected

    def hang_up(self) -> None:
        """End its input, and so its remote command."""
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()

    def words(self) -> str:
        """Return what it wrote to standard error."""
        return self.said.read_text("utf-8", "replace")
