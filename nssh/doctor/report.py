"""What the steps found: one result each, for a terminal and as JSON."""

from __future__ import annotations

import enum
import json
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from nssh import __version__
from nssh.base.printable import LONGEST, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Outcome(enum.StrEnum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"  # it works, with limits
    FAILED = "failed"
    SKIPPED = "skipped"  # it could not be tried, because of another one


class Result(NamedTuple):
    """What a step found."""

    state: Outcome
    text: str
    advice: str = ""
    """What to do; `` if there is nothing to be done."""
    seconds: float | None = None
    """A time that was measured."""


class Found(NamedTuple):
    """A result, with the step's name."""

    name: str
    result: Result


def ok(text: str, seconds: float | None = None) -> Result:
    """Return a result: all is well."""
    return Result(Outcome.OK, text, "", seconds)


def warning(text: str, advice: str = "", seconds: float | None = None) -> Result:
    """Return a result: it works, with limits."""
    return Result(Outcome.WARNING, text, advice, seconds)


def failed(text: str, advice: str = "") -> Result:
    """Return a result: it does not work."""
    return Result(Outcome.FAILED, text, advice)


def duration(seconds: float) -> str:
    """Say a measured time: `41 ms`, `2.3 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


_MARKS = {Outcome.OK: "ok", Outcome.WARNING: "warn", Outcome.FAILED: "WRONG", Outcome.SKIPPED: "-"}
_WIDTH = 18


def lines(found: Found) -> list[str]:
    """Return a step's lines for a terminal; a remote may have put anything into them."""
    name, result = found
    time = "" if result.seconds is None else f" ({duration(result.seconds)})"
    shown = [f"{_MARKS[result.state]:<6}{name:<{_WIDTH}}{printable(result.text, LONGEST)}{time}"]
    if result.advice:
        shown.append(f"{'':<6}{'':<{_WIDTH}}→ {printable(result.advice, LONGEST)}")
    return shown


def told(steps: Iterable[Found]) -> Iterator[str]:
    """Yield the lines of steps as these come; those in a row that one thing kept from being tried are one line."""
    for reason, group in groupby(steps, lambda one: one.result.text if one.result.state is Outcome.SKIPPED else ""):
        if not reason:
            for one in group:
                yield from lines(one)
            continue
        skipped = list(group)
        name = skipped[0].name if len(skipped) == 1 else f"{len(skipped)} steps"
        yield from lines(Found(name, skipped[0].result))


def succeeded(steps: Sequence[Found]) -> bool:
    """Whether nothing is wrong; what could not be tried is no fault of its own."""
    return not any(one.result.state is Outcome.FAILED for one in steps)


def summary(steps: Sequence[Found]) -> str:
    """Return the last line."""
    count = {state: sum(one.result.state is state for one in steps) for state in Outcome}
    parts = [f"{count[Outcome.OK]} ok"]
    parts += [f"{count[Outcome.WARNING]} with limits"] if count[Outcome.WARNING] else []
    parts += [f"{count[Outcome.SKIPPED]} not tried"] if count[Outcome.SKIPPED] else []
    parts += [f"{count[Outcome.FAILED]} wrong"] if count[Outcome.FAILED] else []
    return ", ".join(parts)


def as_json(host: str, key: str, steps: Sequence[Found]) -> str:
    """Return all of it as docs/doctor.md has it."""
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
