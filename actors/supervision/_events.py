"""What a supervisor tells whoever looks after the tree."""

from __future__ import annotations

import enum
from typing import NamedTuple


class EventKind(enum.StrEnum):
    """What happened to a child, or to the tree."""

    STARTED = "started"  # it is up: `started()` has returned
    ENDED = "ended"  # it ended without an error, by itself or as asked
    CRASHED = "crashed"  # it ended with an error, which `error` and `trace` tell
    RESTARTING = "restarting"  # it will be started again in `delay` seconds
    ABANDONED = "abandoned"  # it could not be stopped: its thread is left behind, and nothing it does counts any more
    DROPPED = "dropped"  # a message to it will never be handled; `error` has its type and the reason
    ESCALATED = "escalated"  # the tree gives up; the process should end and be started afresh
    STOPPED = "stopped"  # the whole tree is down; `error` has the ids of abandoned threads that still exist


class Event(NamedTuple):
    """Something that the supervisor did or noticed; for the log, never for control flow."""

    kind: EventKind
    id: str = ""  # the child, or "" for the tree
    generation: int = 0  # 1 for a child's first life
    restarts: int = 0  # of that child so far; of the whole tree if `id` is ""
    error: str = ""  # one line: the error's type and text
    trace: str = ""  # several lines of "file:line in function", never a value of a variable
    delay: float = 0.0  # seconds
