"""Which parts there are, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.bench import growth, launch, prompt, servers, session, shims, supervision, sweep, traffic, ways, weight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.place import Lab
    from tests.bench.rows import Section
    from tests.bench.scale import Scale


class Part(NamedTuple):
    """One part.

    Attributes:
        name: What it is called on the command line.
        measure: Measures, and returns sections.
        quick: Whether a quick run has it.
    """

    name: str
    measure: Callable[[Lab, Scale], Section | Sequence[Section]]
    quick: bool = True


PARTS = (
    Part("prompt", prompt.measure),
    Part("launch", launch.measure),
    Part("shims", shims.on_relay),
    Part("ntfy", shims.on_ntfy),
    Part("ways", ways.measure, quick=False),
    Part("idle", session.idle),
    Part("joined", session.joined),
    Part("imports", weight.measure, quick=False),
    Part("killed", session.killed),
    Part("traffic", traffic.measure, quick=False),
    Part("servers", servers.measure, quick=False),
    Part("growth", growth.measure, quick=False),
    Part("sweep", sweep.measure, quick=False),
    Part("supervision", supervision.measure, quick=False),
)
