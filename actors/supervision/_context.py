"""What a child's `start` is given: its id and generation, and the way to its tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._directory import Directory
    from actors.supervision._events import Event
    from actors.supervision._incarnation import Incarnation
    from actors.supervision._timers import Clock, Timers


class Context:
    """The argument of `ChildSpec.start`: what one incarnation knows of itself and of its tree.

    Attributes:
        id: The child's id.
        directory: Sends messages to peers.
        timers: The tree's timers. An actor uses `BaseActor.after` instead, whose timers end with the incarnation.
        clock: The tree's clock.
        incarnation: The record of this incarnation.
        emit: Passes an event to the tree's `on_event`.
    """

    def __init__(
        self,
        directory: Directory,
        timers: Timers,
        clock: Clock,
        incarnation: Incarnation,
        emit: Callable[[Event], object],
    ) -> None:
        self.id = incarnation.id
        self.directory = directory
        self.timers = timers
        self.clock = clock
        self.incarnation = incarnation
        self.emit = emit

    @property
    def generation(self) -> int:
        """The number of this incarnation: 1 for the child's first one."""
        return self.incarnation.generation

    @property
    def abandoned(self) -> bool:
        """Whether this incarnation was abandoned. Check it before an irreversible act other than sending a message."""
        return self.incarnation.abandoned
