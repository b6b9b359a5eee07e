"""What is measured, as lines of a table: medians with their spread, ratios against a yardstick, budgets."""

from __future__ import annotations

import math
import statistics
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FACTORS = {"ms": 1e3, "µs": 1e6}


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        what: What was measured.
        samples: One value or several, in `unit`; times are seconds here and become milliseconds in the table.
        unit: `ms`, `µs`, `MB`, `/s`, `` or anything else.
        baseline: The yardstick's samples, of the same run and in the same unit; empty if there is none.
        of: What the yardstick is.
        budget: At most this, in the unit or, if `relative`, as a multiple of the yardstick; None if there is none.
        least: The budget is a lower bound.
        note: What a reader should know, for instance how close to the floor it is.
    """

    what: str
    samples: tuple[float, ...]
    unit: str = "ms"
    baseline: tuple[float, ...] = ()
    of: str = ""
    budget: float | None = None
    relative: bool = False
    least: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """The median over the yardstick's median."""
        base = statistics.median(self.baseline) if self.baseline else 0.0
        return self.value / base if base else None

    @property
    def met(self) -> bool | None:
        """Whether the budget is met; None if there is none."""
        if self.budget is None:
            return None
        value = self.ratio if self.relative else self.value
        if value is None:
            return False
        return value >= self.budget if self.least else value <= self.budget

    def cells(self) -> tuple[str, ...]:
        """Return the row as text: what, measured, samples, spread, yardstick, ratio, budget, verdict."""
        base = f"{self._show(statistics.median(self.baseline))} {self.of}".rstrip() if self.baseline else ""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} ×"
        spread = f"{self._bare(min(self.samples))}–{self._bare(max(self.samples))}" if len(self.samples) > 1 else ""
        budget = verdict = ""
        if self.budget is not None:
            sign = "≥" if self.least else "≤"
            budget = f"{sign} {self.budget:.2f} ×" if self.relative else f"{sign} {self._show(self.budget)}"
            verdict = "met" if self.met else "OVER"
        return (self.what, self._show(self.value), str(len(self.samples)), spread, base, ratio, budget, verdict)

    def _bare(self, value: float) -> str:
        scaled = value * _FACTORS.get(self.unit, 1.0)
        return f"{scaled:.0f}" if abs(scaled) >= 100 or scaled == int(scaled) else f"{scaled:.3g}"

    def _show(self, value: float) -> str:
        return f"{self._bare(value)} {self.unit}".rstrip()


HEAD = ("what", "measured", "n", "spread", "yardstick", "ratio", "budget", "")


class Section(NamedTuple):
    """The rows of one part, and what is said about them."""

    title: str
    rows: list[Row]
    text: str = ""


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` of all samples don't exceed (nearest rank).

    Raises:
        ValueError: There is none.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def interleaved(runs: int, ways: Mapping[str, Callable[[], float]]) -> dict[str, tuple[float, ...]]:
    """Measure each way `runs` times in turn, so that whatever else runs hits all alike.

    A first turn does not count, it warms up; a single run is measured cold.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(0 if runs > 1 else 1, runs + 1):
        for name, measure in ways.items():
            seconds = measure()
            if turn:
                times[name].append(seconds)
    for name, values in times.items():
        progress(f"{name}: {', '.join(f'{value * 1000:.1f}' for value in sorted(values))} ms")
    return {name: tuple(values) for name, values in times.items()}


def minus(samples: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Return what is left of samples without the median of others, never below 0."""
    base = statistics.median(others)
    return tuple(max(0.0, value - base) for value in samples)


def plus(*parts: Sequence[float]) -> tuple[float]:
    """Return the sum of medians, as a yardstick that is made of several."""
    return (sum(map(statistics.median, parts)),)


def progress(text: str) -> None:
    """Tell on standard error what was just measured."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def table(rows: Sequence[Row]) -> str:
    """Return rows for a terminal."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(line.rstrip() for line in padded)
