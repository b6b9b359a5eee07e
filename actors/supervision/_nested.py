"""A tree as a child of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.supervision._outcome import EscalatedError, Outcome, StartError

if TYPE_CHECKING:
    from actors.supervision._incarnation import Incarnation
    from actors.supervision._supervisor import Supervisor

GRACE = 1.0
"""Seconds that the children of a tree that was given up have for their end; nobody waits for it."""


class TreeBody:
    """Runs a supervisor that was not started yet: up once all its children are, down once they are.

    Its end as requested, or with its significant children, is a normal one; that a child does not start, and an
    escalation, are each one failure of the whole.
    """

    def __init__(self, tree: Supervisor) -> None:
        self._tree = tree

    def run(self, life: Incarnation) -> None:
        """Start the tree, and wait for its end."""
        try:
            self._tree.start()
        except StartError:
            if life.stop_requested:
                return
            raise
        life.up()
        if self._tree.wait() is Outcome.ESCALATED:
            raise EscalatedError(self._tree.escalation)

    def request_stop(self, patience: float) -> None:
        """Stop all children within `patience` seconds."""
        self._tree.request_stop(patience)

    def abandon(self) -> None:
        """Have the children stop soon, those that can."""
        self._tree.request_stop(GRACE)
