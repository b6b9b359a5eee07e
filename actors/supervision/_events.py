"""The events that a supervisor passes to `on_event`."""

from __future__ import annotations

import enum
from typing import NamedTuple


class EventKind(enum.StrEnum):
    """What happened to a child, or to the tree."""

    STARTED = "started"  # it is up: `started()` has returned
    ENDED = "ended"  # it ended without an error, by itself or on request
    CRASHED = "crashed"  # it ended with an error: see `error` and `trace`
    RESTARTING = "restarting"  # it will be started again in `delay` seconds
    ABANDONED = "abandoned"  # it did not stop in time: its thread is left behind, cut off from the tree
    DROPPED = "dropped"  # a message to it will never be handled; `error` has its type and the reason
    ESCALATED = "escalated"  # the tree gives up; the process should end and be started afresh
    STOPPED = "stopped"  # the whole tree is down; `error` has the ids of abandoned threads that still exist


class Event(NamedTuple):
    """Something that the supervisor did or noticed. For logs; the program's control flow must not depend on it."""

    kind: EventKind
    id: str = ""  # the child; empty for the tree
    generation: int = 0  # the number of the child's incarnation, from 1
    restarts: int = 0  # of that child so far; of the whole tree if `id` is empty
    error: str = ""  # one line: the error's type and text
    trace: str = ""  # lines of "file:line in function"; never values of variables, which may be secret
    delay: float = 0.0  # seconds
