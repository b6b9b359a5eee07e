"""The ways in which a tree ends."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """How a tree ended."""

    STOPPED = "stopped"  # on request
    COMPLETED = "completed"  # by itself, with its significant children
    FAILED = "failed"  # a child did not start when the tree was started
    ESCALATED = "escalated"  # it failed too often: the process should end with a status other than 0


class StartError(Exception):
    """A child did not start; a tree that was starting is stopped again. `__cause__` is the child's error, if any."""


class EscalatedError(Exception):
    """A nested tree has given up, which counts as one failure of it in the outer tree."""
