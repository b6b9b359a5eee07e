"""Supervised actors beside pykka's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.rows import Row, Section
from tests.supervision import bench

if TYPE_CHECKING:
    from tests.bench.place import Lab
    from tests.bench.scale import Scale


def measure(lab: Lab, scale: Scale) -> Section:
    """Measure as `python -m tests.supervision.bench` does, which needs nothing but the library."""
    figures = bench.measure(scale.runs)
    rows = []
    for what, rates, least in (("tells", figures.tells, 0.8), ("asks", figures.asks, 1.0)):
        (_, *ours), (base, *_) = list(rates), list(rates.values())
        rows += [
            Row(
                f"{what}, {name}", tuple(rates[name]), "/s", tuple(base), "pykka",
                budget=least, relative=True, least=True,
            )
            for name in ours
        ]  # fmt: skip
    rows.append(Row("crash to serving again, no backoff", tuple(figures.recovery), budget=0.005))
    rows.append(Row(f"{bench.CHILDREN} children started", (figures.started,)))
    rows.append(Row(f"{bench.CHILDREN} children stopped", (figures.stopped,)))
    return Section("Supervision", rows)
