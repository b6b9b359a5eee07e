"""Decide which messages of a backlog still take effect: the replay policy (docs/architecture.md, "What waited")."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.wire.envelope import KIND_CLIP_READ_REQUEST, KIND_CLIP_WRITE, KIND_OPEN

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_SECONDS: Final = 10.0
"""Age beyond which a clipboard read is not answered: its shim has given up."""
OPEN_SECONDS: Final = 15 * 60.0
"""Age beyond which a URL is held: the user does not expect its page any more."""
OPEN_MAX: Final = 10
"""The most URLs of one backlog that are opened; the others are held."""


class Verdict(enum.Enum):
    """What happens to a message; the value of all but APPLY is the event to log."""

    APPLY = "apply"
    EXPIRED = "read-expired"
    SUPERSEDED = "clip-superseded"
    HELD = "open-held"


class Item(NamedTuple):
    """What the policy has to know about a message."""

    kind: str
    time: float
    """Seconds since the epoch, by the server's clock."""


def judge(batch: Sequence[Item], now_server: float | None) -> list[Verdict]:
    """Return a verdict for each item of a backlog.

    Args:
        batch: The messages of one poll, in the order of the bus.
        now_server: `BusClient.server_time`, never this machine's clock, which may differ. If it is None, the time of
            the newest item is used.
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
