"""Counts the threads that had to be left behind: how many of them a process may bear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.supervision._incarnation import Incarnation, WedgedError


class Ghosts:
    """The abandoned lives of a tree. A ghost counts for `period` seconds, and for as long as its thread exists.

    Args:
        allowed: This many are borne; one more is too many.
        period: Seconds.
    """

    def __init__(self, allowed: int, period: float) -> None:
        if allowed < 0 or not period >= 0:
            raise ValueError(f"abandonments must not be negative: {allowed} in {period} s")
        self.allowed = allowed
        self.period = period
        self.last: WedgedError | None = None
        """Why the last one was given up."""
        self._ghosts: list[tuple[float, Incarnation]] = []

    def add(self, incarnation: Incarnation, error: WedgedError, now: float) -> None:
        """Count one more at the time `now`."""
        kept = [ghost for ghost in self._ghosts if now - ghost[0] <= self.period or ghost[1].has_thread]
        self._ghosts = [*kept, (now, incarnation)]
        self.last = error

    @property
    def too_many(self) -> bool:
        """Whether more counted than are borne when the last one was added."""
        return len(self._ghosts) > self.allowed

    def names(self) -> tuple[str, ...]:
        """Those that counted then."""
        return tuple(incarnation.name for _, incarnation in self._ghosts)

    def existing(self) -> tuple[str, ...]:
        """The ids of those whose threads still exist."""
        return tuple(incarnation.id for _, incarnation in self._ghosts if incarnation.has_thread)
