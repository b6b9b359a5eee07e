"""Looks at the lease from outside, all the time: the kernel's list of locks says who holds it."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from pathlib import Path

_INTERVAL = 0.02
"""Seconds between two looks."""


class Reign(NamedTuple):
    """Who held the lease from when until when, by `time.time()`."""

    pid: int
    begun: float
    ended: float


class Watch(threading.Thread):
    """Notes every holder of a lease of the laptop's topics; use it as a context manager."""

    def __init__(self, topics: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self._topics = topics
        self._over = threading.Event()
        self._inodes: set[str] = set()
        self.reigns: list[Reign] = []
        self.conflicts: list[str] = []
        self.looks = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    @property
    def holder(self) -> int:
        """PID of who held it at the last look, 0 for nobody."""
        last = self.reigns[-1] if self.reigns else None
        return last.pid if last is not None and not last.ended else 0

    def run(self) -> None:
        while not self._over.wait(_INTERVAL):
            self._look()

    def _look(self) -> None:
        # A lease that was removed, or replaced by another file, goes on being looked at.
        for path in self._topics.glob("*.lease"):
            try:
                self._inodes.add(str(os.stat(path).st_ino))
            except FileNotFoundError:
                continue
        holders = set()
        with open("/proc/locks") as file:
            for line in file:
                words = line.split()
                # Lines of those who only wait have an arrow.
                if words[1] == "FLOCK" and words[5].rpartition(":")[2] in self._inodes:
                    holders.add(int(words[4]))
        now = time.time()
        self.looks += 1
        if len(holders) > 1:
            self.conflicts.append(f"{now:.3f}: {sorted(holders)} hold the lease at once")
        last = self.reigns[-1] if self.reigns else None
        if last is not None and not last.ended and last.pid not in holders:
            self.reigns[-1] = last._replace(ended=now)
        for pid in holders:
            if self.holder != pid:
                self.reigns.append(Reign(pid, now, 0.0))

    def longest_vacancy(self) -> float:
        """Return the longest time between two holders, seconds."""
        return max(
            (after.begun - before.ended for before, after in zip(self.reigns, self.reigns[1:], strict=False)),
            default=0.0,
        )
