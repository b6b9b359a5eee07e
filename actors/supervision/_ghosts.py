"""Counts the abandoned incarnations, to decide whether a process has too many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.supervision._incarnation import Incarnation, WedgedError


class Ghosts:
    """The abandoned incarnations of a tree. Each counts for `period` seconds, and as long as its thread exists.

    Args:
        allowed: So many are accepted; one more is too many.
        period: Seconds.

    Raises:
        ValueError: If a value is negative.
    """

    def __init__(self, allowed: int, period: float) -> None:
        if allowed < 0 or not period >= 0:
            raise ValueError(f"abandonments must not be negative: {allowed} in {period} s")
        self.allowed = allowed
        self.period = period
        self.last: WedgedError | None = None
        """Why the newest one was abandoned."""
        self._ghosts: list[tuple[float, Incarnation]] = []

    def add(self, incarnation: Incarnation, error: WedgedError, now: float) -> None:
        """Count one more, abandoned at the time `now`; drop those that count no longer."""
        kept = [ghost for ghost in self._ghosts if now - ghost[0] <= self.period or ghost[1].has_thread]
        self._ghosts = [*kept, (now, incarnation)]
        self.last = error

    @property
    def too_many(self) -> bool:
        """Whether more than `allowed` counted when the newest one was added."""
        return len(self._ghosts) > self.allowed

    def names(self) -> tuple[str, ...]:
        """Return the names of those that counted then, with their generations."""
        return tuple(incarnation.name for _, incarnation in self._ghosts)

    def existing(self) -> tuple[str, ...]:
        """Return the ids of those whose threads still exist."""
        return tuple(incarnation.id for _, incarnation in self._ghosts if incarnation.has_thread)
