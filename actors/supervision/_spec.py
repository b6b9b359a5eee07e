"""Child specifications: what a supervisor has to know about a child, as data."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pykka

    from actors.supervision._incarnation import Context


class Restart(enum.Enum):
    """When a child that ended is started again. The words are OTP's."""

    PERMANENT = "permanent"  # always, also after a normal end
    TRANSIENT = "transient"  # only after an abnormal end
    TEMPORARY = "temporary"  # never


class Strategy(enum.Enum):
    """Which children are restarted with the one that ended. The words are OTP's."""

    ONE_FOR_ONE = "one_for_one"  # only itself
    REST_FOR_ONE = "rest_for_one"  # itself and those started after it
    ONE_FOR_ALL = "one_for_all"  # all of them

    def affected(self, ids: Sequence[str], ended: str) -> Sequence[str]:
        """The children to stop (from last to first) and start again (from first to last) when `ended` has ended."""
        if self is Strategy.ONE_FOR_ALL:
            return ids
        at = ids.index(ended)
        return ids[at:] if self is Strategy.REST_FOR_ONE else ids[at : at + 1]


@dataclass(frozen=True)
class ChildSpec:
    """How to start, watch and stop one child.

    Attributes:
        id: Its name, unique in the tree; peers send to it.
        start: Makes the actor and starts it: `LogWriter.start`, or `lambda context: LogWriter.start(context, path)`.
            Called on the thread that the actor will live on, once per generation, so a constructor that raises or
            hangs harms nobody else.
        restart: When to start it again after it ended.
        startup: Seconds that constructor and `started()` may take together; then it is abandoned.
        shutdown: Seconds from the request to stop until `stopped()` has returned; then it is abandoned.
        health: Seconds that one message may take to handle, unless the handler asks for more with `busy()`; beyond
            that the actor counts as wedged and is abandoned. None: it is never checked.
        mailbox: Unhandled messages kept for it, whether it is running or just being restarted; more are dropped.

    Raises:
        ValueError: If a value makes no sense.
    """

    id: str
    start: Callable[[Context], pykka.ActorRef[Any]]
    restart: Restart = Restart.PERMANENT
    startup: float = 10.0
    shutdown: float = 5.0
    health: float | None = 10.0
    mailbox: int = 1000

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("a child needs an id")
        limits = {"startup": self.startup, "shutdown": self.shutdown, "health": self.health}
        for name, seconds in limits.items():
            if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
                raise ValueError(f"{self.id}: {name} must be a positive number of seconds, not {seconds}")
        if self.mailbox < 1:
            raise ValueError(f"{self.id}: mailbox must hold at least one message, not {self.mailbox}")
