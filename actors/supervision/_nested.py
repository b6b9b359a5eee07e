"""Runs a tree as a child of another tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.supervision._outcome import EscalatedError, Outcome, StartError

if TYPE_CHECKING:
    from actors.supervision._incarnation import Incarnation
    from actors.supervision._supervisor import Supervisor

GRACE = 1.0
"""Seconds that the children of an abandoned tree have to stop. The outer tree does not wait for them."""


class TreeBody:
    """Runs a supervisor, not started before, as one child: it is up when all its children are, and down when they are.

    An end on request, or with its significant children, is a normal end. A child that does not start, and an
    escalation, are failures of the tree as one child.
    """

    def __init__(self, tree: Supervisor) -> None:
        self._tree = tree

    def run(self, life: Incarnation) -> None:
        """Start the tree, and wait for its end.

        Raises:
            StartError: A child did not start.
            EscalatedError: The tree gave up.
        """
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
        """Have the children stop within `GRACE` seconds."""
        self._tree.request_stop(GRACE)
