"""What to do with messages that waited: the replay policy (docs/architecture.md, "What waited")."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.wire.envelope import KIND_CLIP_READ_REQUEST, KIND_CLIP_WRITE, KIND_OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_SECONDS: Final = 10.0
"""Age from which nobody waits for the answer to a clipboard read any more."""
OPEN_SECONDS: Final = 15 * 60.0
"""Age from which a URL would surprise the user."""
OPEN_MAX: Final = 10
"""URLs of one backlog that are opened; more would bury the user in tabs."""


class Verdict(enum.Enum):
    """What becomes of a message; the value of all but APPLY is the event to log."""

    APPLY = "apply"
    EXPIRED = "read-expired"
    SUPERSEDED = "clip-superseded"
    HELD = "open-held"


class Item(NamedTuple):
    """What the policy needs to know of a message."""

    kind: str
    time: float
    """Seconds since the epoch, by the server's clock."""


def judge(batch: Sequence[Item], now_server: float | None) -> list[Verdict]:
    """Return a verdict for each item of a backlog that is in the order of the bus.

    Args:
        batch: The messages of one poll.
        now_server: The newest server time known, `BusClient.server_time`; never this machine's clock, which need not
            agree. None if the server told none: then the newest item counts as now.
    """
    now = max((item.time for item in batch), default=0.0) if now_server is None else now_server
    last_write = max((index for index, item in enumerate(batch) if item.kind == KIND_CLIP_WRITE), default=-1)
    opened = 0
    verdicts = []
    for index, item in enumerate(batch):
        verdict = Verdict.APPLY
        age = now - item.time
        if item.kind == KIND_CLIP_READ_REQUEST and age > READ_SECONDS:
            verdict = Verdict.EXPIRED
        elif item.kind == KIND_CLIP_WRITE and index != last_write:
            verdict = Verdict.SUPERSEDED
        elif item.kind == KIND_OPEN:
            if age > OPEN_SECONDS or opened >= OPEN_MAX:
                verdict = Verdict.HELD
            else:
                opened += 1
        verdicts.append(verdict)
    return verdicts
