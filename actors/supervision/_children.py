"""The children of one tree, in the order in which they are started."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from actors.supervision._child import Child
from actors.supervision._mail import UnknownActorError
from actors.supervision._outcome import StartError
from actors.supervision._spec import AutoShutdown, Strategy
from actors.supervision.debug import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._requests import Requests
    from actors.supervision._restarts import Attempts
    from actors.supervision._shared import Shared
    from actors.supervision._spec import ChildSpec


class Children(dict[str, Child]):
    """The children by id. Once the supervisor's thread runs, only it may change them.

    Args:
        strategy, auto_shutdown: Options of the tree.
        attempts: Makes a child's `Attempts`.
        shared: The state that the children share with the supervisor.
        requests: The requests to the supervisor, in which an actor among the children may wait.
    """

    def __init__(
        self,
        strategy: Strategy,
        auto_shutdown: AutoShutdown,
        attempts: Callable[[], Attempts],
        shared: Shared,
        requests: Requests,
    ) -> None:
        super().__init__()
        self._strategy = strategy
        self._auto_shutdown = auto_shutdown
        self._attempts = attempts
        self._shared = shared
        self._requests = requests

    def add(self, spec: ChildSpec, *, forgettable: bool = False) -> Child:
        """Add a child behind the others.

        Raises:
            ValueError: If a child has this id, or the new one is significant in a tree that never ends by itself.
        """
        if spec.id in self:
            raise ValueError(f"two children have the id {spec.id}")
        if spec.significant and self._auto_shutdown is AutoShutdown.NEVER:
            raise ValueError(f"{spec.id} is significant, but this tree never ends by itself")
        child = self[spec.id] = Child(spec, self._attempts(), self._shared, forgettable=forgettable)
        return child

    def find(self, child_id: str) -> Child:
        """Return the child with an id.

        Raises:
            UnknownActorError: If no child has this id.
        """
        try:
            return self[child_id]
        except KeyError:
            raise UnknownActorError(f"no child has the id {child_id}") from None

    def find_down(self, child_id: str) -> Child:
        """Return a child that is down for good.

        Raises:
            UnknownActorError: If no child has this id.
            ValueError: If the child is not down for good.
        """
        child = self.find(child_id)
        if not child.finished:
            raise ValueError(f"{child_id} is not down for good: terminate it first")
        return child

    def start(self, child: Child) -> None:
        """Start a child; if it fails, it is not tried again.

        Raises:
            StartError: If it did not come up; it is down for good then.
        """
        if not self._shared.stop_requested:
            child.start()
        life = child.incarnation
        if life is not None and life.came_up:
            return
        child.stop()
        child.retire()
        reason = "the tree was stopped" if self._shared.stop_requested else describe(child.error)
        raise StartError(f"{child.id} did not start: {reason}") from child.error

    def stop(self, child: Child, share: float = math.inf) -> None:
        """Stop a child. If it waits in a request to the supervisor, that request is refused first."""
        if child.incarnation is not None:
            self._requests.refuse(child.incarnation.thread)
        child.stop(share)

    def retire(self, child: Child) -> None:
        """Note that a child is down for good; forget it if it is `forgettable`."""
        child.retire()
        if child.forgettable:
            self.forget(child)

    def forget(self, child: Child) -> None:
        """Remove a child that is down."""
        del self[child.id]
        self._shared.directory.remove(child.id)

    def completes(self) -> bool:
        """Return whether the tree ends, now that a significant child has ended by itself."""
        if self._auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            return True
        return all(child.finished for child in self.values() if child.spec.significant)

    def waiting(self) -> list[tuple[Child, float]]:
        """Return the children that wait for a restart, with its time, in order.

        With other strategies than one_for_one, a child that is not up yet holds up those behind it: they are left out.
        """
        waiting = []
        for child in self.values():
            if child.due is not None:
                waiting.append((child, child.due))
            if self._strategy is not Strategy.ONE_FOR_ONE and not (child.running or child.finished):
                break
        return waiting

    def affected(self, ended: Child) -> list[Child]:
        """Return the children to start again because `ended` has ended, itself included, from last to first."""
        affected = [self[child_id] for child_id in self._strategy.affected(list(self), ended.id)]
        return [child for child in reversed(affected) if not child.terminated]
