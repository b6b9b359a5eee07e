"""What every child is told about itself, and the tree that it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._directory import Directory
    from actors.supervision._events import Event
    from actors.supervision._incarnation import Incarnation
    from actors.supervision._timers import Clock, Timers


class Context:
    """What `ChildSpec.start` is called with.

    Attributes:
        id: The child's id.
        directory: The way to all peers.
        timers: The tree's timers; an actor uses `after`, which binds them to its generation.
        clock: The tree's clock.
        incarnation: Where this life's progress is reported.
        emit: Tells the tree's `on_event` something.
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
        """1 for the child's first life, one more for each further one."""
        return self.incarnation.generation

    @property
    def abandoned(self) -> bool:
        """Whether this life was given up: look before an act that can't be undone and that takes no message."""
        return self.incarnation.abandoned
