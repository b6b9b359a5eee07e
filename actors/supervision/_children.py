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
    """The children by id; changed by the supervisor's thread alone, once that runs.

    Args:
        strategy, auto_shutdown: The tree's.
        attempts: Makes a count of attempts for a child.
        shared: What they report to.
        requests: Where actors among them may wait for the supervisor.
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

    def add(self, spec: ChildSpec, *, passing: bool = False) -> Child:
        """Take in one more, behind the others.

        Raises:
            ValueError: If there is one with its id, or it is significant where that means nothing.
        """
        if spec.id in self:
            raise ValueError(f"two children have the id {spec.id}")
        if spec.significant and self._auto_shutdown is AutoShutdown.NEVER:
            raise ValueError(f"{spec.id} is significant, but this tree never ends by itself")
        child = self[spec.id] = Child(spec, self._attempts(), self._shared, passing=passing)
        return child

    def find(self, child_id: str) -> Child:
        """Return the child with an id.

        Raises:
            UnknownActorError: If there is none.
        """
        try:
            return self[child_id]
        except KeyError:
            raise UnknownActorError(f"no child has the id {child_id}") from None

    def find_down(self, child_id: str) -> Child:
        """Return a child that is down for good.

        Raises:
            UnknownActorError: If there is none with this id.
            ValueError: If it is not down.
        """
        child = self.find(child_id)
        if not child.finished:
            raise ValueError(f"{child_id} is not down for good: terminate it first")
        return child

    def start(self, child: Child) -> None:
        """Start a child that has no right to further attempts if it fails.

        Raises:
            StartError: If it did not come up; it is retired then.
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
        """Stop a child, which waits no longer for what it wanted of its supervisor."""
        if child.incarnation is not None:
            self._requests.refuse(child.incarnation.thread)
        child.stop(share)

    def retire(self, child: Child) -> None:
        """It will not be started again, or only by hand."""
        child.retire()
        if child.passing:
            self.forget(child)

    def forget(self, child: Child) -> None:
        """Let go of a child that is down."""
        del self[child.id]
        self._shared.directory.remove(child.id)

    def completes(self) -> bool:
        """Whether the tree ends with a significant child that has ended by itself."""
        if self._auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            return True
        return all(child.finished for child in self.values() if child.spec.significant)

    def waiting(self) -> list[tuple[Child, float]]:
        """Those that wait for their restart, and until when, in order, up to the first that holds up the rest."""
        waiting = []
        for child in self.values():
            if child.due is not None:
                waiting.append((child, child.due))
            if self._strategy is not Strategy.ONE_FOR_ONE and not (child.running or child.finished):
                break
        return waiting

    def affected(self, ended: Child) -> list[Child]:
        """Those to be started again because one has ended, itself included, from last to first."""
        affected = [self[child_id] for child_id in self._strategy.affected(list(self), ended.id)]
        return [child for child in reversed(affected) if not child.terminated]
