"""Formats the results of the doctor's steps: as lines for a terminal, and as JSON."""

from __future__ import annotations

import enum
import json
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from nssh import __version__
from nssh.base.printable import LONGEST, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class StepOutcome(enum.StrEnum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"  # works, with limits
    FAILED = "failed"
    SKIPPED = "skipped"  # not tried, because a step that it needs failed


class Result(NamedTuple):
    """What a step found."""

    state: StepOutcome
    text: str
    advice: str = ""
    """What the user can do about it; empty if nothing."""
    seconds: float | None = None
    """How long it took; None if it was not measured."""


class Found(NamedTuple):
    """A result with its step's name."""

    name: str
    result: Result


def ok(text: str, seconds: float | None = None) -> Result:
    """Return the result of a step that succeeded."""
    return Result(StepOutcome.OK, text, "", seconds)


def warning(text: str, advice: str = "", seconds: float | None = None) -> Result:
    """Return the result of a step that works, with limits."""
    return Result(StepOutcome.WARNING, text, advice, seconds)


def failed(text: str, advice: str = "") -> Result:
    """Return the result of a step that failed."""
    return Result(StepOutcome.FAILED, text, advice)


def duration(seconds: float) -> str:
    """Format a measured time: `41 ms`, `2.3 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


_MARKS = {StepOutcome.OK: "ok", StepOutcome.WARNING: "warn", StepOutcome.FAILED: "WRONG", StepOutcome.SKIPPED: "-"}
_WIDTH = 18


def lines(found: Found) -> list[str]:
    """Return a step's lines for a terminal. They may hold a remote's text, so they are made printable."""
    name, result = found
    time = "" if result.seconds is None else f" ({duration(result.seconds)})"
    shown = [f"{_MARKS[result.state]:<6}{name:<{_WIDTH}}{printable(result.text, LONGEST)}{time}"]
    if result.advice:
        shown.append(f"{'':<6}{'':<{_WIDTH}}→ {printable(result.advice, LONGEST)}")
    return shown


def told(steps: Iterable[Found]) -> Iterator[str]:
    """Yield the lines of each step as soon as it is done; steps in a row that were skipped for one reason share one."""
    for reason, group in groupby(steps, lambda one: one.result.text if one.result.state is StepOutcome.SKIPPED else ""):
        if not reason:
            for one in group:
                yield from lines(one)
            continue
        skipped = list(group)
        name = skipped[0].name if len(skipped) == 1 else f"{len(skipped)} steps"
        yield from lines(Found(name, skipped[0].result))


def succeeded(steps: Sequence[Found]) -> bool:
    """Whether no step failed. Skipped steps do not count as failed."""
    return not any(one.result.state is StepOutcome.FAILED for one in steps)


def summary(steps: Sequence[Found]) -> str:
    """Return the last line, which counts the results."""
    count = {state: sum(one.result.state is state for one in steps) for state in StepOutcome}
    parts = [f"{count[StepOutcome.OK]} ok"]
    parts += [f"{count[StepOutcome.WARNING]} with limits"] if count[StepOutcome.WARNING] else []
    parts += [f"{count[StepOutcome.SKIPPED]} not tried"] if count[StepOutcome.SKIPPED] else []
    parts += [f"{count[StepOutcome.FAILED]} wrong"] if count[StepOutcome.FAILED] else []
    return ", ".join(parts)


def as_json(host: str, key: str, steps: Sequence[Found]) -> str:
    """Return all results as JSON, in the form that docs/doctor.md describes."""
    told = [
        {
            "name": name,
            "state": result.state.value,
            "text": printable(result.text, LONGEST),
            "advice": printable(result.advice, LONGEST),
            "seconds": None if result.seconds is None else round(result.seconds, 6),
        }
        for name, result in steps
    ]
    content = {"host": host, "key": key, "version": __version__, "ok": succeeded(steps), "steps": told}
    return json.dumps(content, indent=2)
