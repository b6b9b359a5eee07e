"""Child specifications: all that a supervisor knows about a child, as data."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Restart(enum.Enum):
    """When a child that ended is started again. The words are OTP's."""

    PERMANENT = "permanent"  # after every end, also a normal one
    TRANSIENT = "transient"  # only after an abnormal end
    TEMPORARY = "temporary"  # never

    def after(self, *, failed: bool) -> bool:
        """Return whether a child is started again after a failure, or after a normal end."""
        return self is Restart.PERMANENT or (self is Restart.TRANSIENT and failed)


class Strategy(enum.Enum):
    """Which children are restarted with the one that ended. The words are OTP's."""

    ONE_FOR_ONE = "one_for_one"  # only itself
    REST_FOR_ONE = "rest_for_one"  # itself and those started after it
    ONE_FOR_ALL = "one_for_all"  # all of them

    def affected(self, ids: Sequence[str], ended: str) -> Sequence[str]:
        """Return the ids of the children to restart with `ended`: stopped in reverse, started in this order."""
        if self is Strategy.ONE_FOR_ALL:
            return ids
        at = ids.index(ended)
        return ids[at:] if self is Strategy.REST_FOR_ONE else ids[at : at + 1]


class AutoShutdown(enum.Enum):
    """Whether a tree ends by itself once significant children have ended. The words are OTP's."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"  # with the first of them
    ALL_SIGNIFICANT = "all_significant"  # with the last of them


class Default(enum.Enum):
    """Defaults of options that depend on other options."""

    HEALTH = 10.0  # seconds; None for a `Program`, since only some programs write heartbeats


class ChildSpec:
    """How to start, watch and stop one child. Not to be changed once it is made.

    Attributes:
        id: The child's name, unique in the tree. Messages are sent to it.
        start: Makes an actor (`LogWriter`, or `lambda context: Counter(3)`) or a `Supervisor`, and does not start it.
            Called with a `Context` for each incarnation, on that incarnation's thread, so that a constructor that
            raises or hangs affects no other child. Or a `Program`, for a process.
        restart: After which ends the child is started again.
        startup: Seconds until it is up; if it takes longer, it is abandoned.
        shutdown: Seconds from the request to stop until it is down; if it takes longer, it is abandoned.
        health: Seconds that one message may take, unless the handler calls `busy()`; an actor that takes longer is
            abandoned. For a process, seconds without a heartbeat. None: it is not checked. The default is 10 if `start`
            is a callable, None for a `Program`.
        mailbox: The number of unhandled messages that are kept for it, also while it is down. More are dropped.
        significant: Whether its end may end the tree; see `AutoShutdown`.

    Raises:
        ValueError: If a value makes no sense.
    """

    __slots__ = ("health", "id", "mailbox", "restart", "shutdown", "significant", "start", "startup")

    def __init__(
        self,
        id: str,  # noqa: A002 - OTP's word
        start: Callable[[Any], object] | object,
        restart: Restart = Restart.PERMANENT,
        *,
        startup: float = 10.0,
        shutdown: float = 5.0,
        health: float | Default | None = Default.HEALTH,
        mailbox: int = 1000,
        significant: bool = False,
    ) -> None:
        if not id:
            raise ValueError("a child needs an id")
        if isinstance(health, Default):
            health = health.value if callable(start) else None
        for name, seconds in {"startup": startup, "shutdown": shutdown, "health": health}.items():
            if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
                raise ValueError(f"{id}: {name} must be a positive number of seconds, not {seconds}")
        if mailbox < 1:
            raise ValueError(f"{id}: mailbox must hold at least one message, not {mailbox}")
        if significant and restart is Restart.PERMANENT:
            raise ValueError(f"{id}: a permanent child is always started again, so its end can't be significant")
        self.id = id
        self.start = start
        self.restart = restart
        self.startup = startup
        self.shutdown = shutdown
        self.health: float | None = health
        self.mailbox = mailbox
        self.significant = significant
