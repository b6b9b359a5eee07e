"""How a tree ends."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """How a tree ended."""

    STOPPED = "stopped"  # as requested
    COMPLETED = "completed"  # by itself, with its significant children
    FAILED = "failed"  # a child did not start in the first place
    ESCALATED = "escalated"  # it failed too often: the process should end with a status other than 0


class StartError(Exception):
    """A child did not start; what had been started before it is stopped again. `__cause__` is its error, if any."""


class EscalatedError(Exception):
    """A tree that is a child has given up; counts as one failure of that child."""
