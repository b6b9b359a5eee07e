"""What breaks when, from a seed alone."""

from __future__ import annotations

import random
from typing import NamedTuple

ROUND = (14.0, 22.0)
"""Seconds of a storm, from and to; a calm follows each."""

# Seconds between two faults; several may last at once.
_EVERY = 1.6


class Fault(NamedTuple):
    """One thing that happens.

    Attributes:
        at: Seconds after the storm's begin.
        kind: See `KINDS`.
        slot: Which of the three sessions; -1 stands for the one that acts, whichever that is.
        lasts: Seconds until it is undone, where it can be.
        aim: Seconds behind the next start of a shim at which it happens; None for at once.
    """

    at: float
    kind: str
    slot: int
    lasts: float
    aim: float | None


# How often each happens, and how long it lasts: less than a lease's poll, more, and more than any deadline of an actor.
KINDS: dict[str, tuple[int, tuple[tuple[float, float], ...]]] = {
    "bridge-kill": (18, ()),
    "bridge-stop": (12, ((0.1, 0.8), (1.0, 4.0), (11.0, 14.0))),
    "heir-kill": (5, ((0.4, 1.6),)),
    "thaw-kill": (16, ((1.0, 6.0),)),
    "launcher-kill": (6, ()),
    "launcher-stop": (6, ((0.2, 1.0), (1.0, 6.0))),
    "both-kill": (5, ()),
    "ssh-kill": (3, ()),
    "session-end": (6, ()),
    "session-replace": (6, ()),
    "server-kill": (9, ((0.0, 0.0), (0.5, 3.0))),
    "server-stop": (8, ((0.1, 1.0), (1.0, 7.0))),
    "link-freeze": (8, ((0.2, 2.0), (2.0, 9.0))),
    "link-cut": (4, ()),
}
NTFY_KINDS: dict[str, tuple[int, tuple[tuple[float, float], ...]]] = {
    "bus-freeze": (9, ((0.2, 2.0), (2.0, 12.0))),
    "bus-cut": (9, ()),
}

# A shim's message is sent, passed on and acted upon within this time after the shim's start, seconds.
_AIM = (0.02, 0.15)
_AIMS = 0.7  # how many of those that can be aimed are
_AIMED = frozenset({"bridge-kill", "bridge-stop", "both-kill", "launcher-kill", "server-kill", "link-cut", "bus-cut"})


def storms(seed: int, bus: str) -> list[list[Fault]]:
    """Return many storms, each a list of faults in the order of time; the last element's time is when it is over."""
    chance = random.Random(f"{seed}-{bus}")  # noqa: S311 - no secret
    kinds = {**KINDS, **(NTFY_KINDS if bus == "ntfy" else {})}
    names = list(kinds)
    weights = [weight for weight, _ in kinds.values()]
    found = []
    for _ in range(1000):
        until = chance.uniform(*ROUND)
        faults: list[Fault] = []
        at = chance.uniform(0.2, 1.0)
        while at < until:
            kind = chance.choices(names, weights)[0]
            slot = chance.choice((-1, -1, 0, 1, 2))
            spans = kinds[kind][1]
            lasts = chance.uniform(*chance.choice(spans)) if spans else 0.0
            aim = chance.uniform(*_AIM) if kind in _AIMED and chance.random() < _AIMS else None
            faults.append(Fault(at, kind, slot, lasts, aim))
            at += chance.expovariate(1 / _EVERY)
        found.append([*faults, Fault(until, "over", 0, 0.0, None)])
    return found
