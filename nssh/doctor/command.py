"""`nssh doctor` in the foreground: takes the steps, and prints what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.doctor import plan, report
from nssh.doctor.walk import Walk, go

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.doctor.options import Wish
    from nssh.doctor.report import Found


def run(wish: Wish) -> int:
    """Run `nssh doctor` and return its exit code: 0 if nothing is wrong, else 1."""
    walk = Walk(wish)
    steps: list[Found] = []

    def taken() -> Iterator[Found]:
        for found in go(walk, plan.steps(walk)):
            steps.append(found)
            yield found

    with walk.undo:
        for line in report.told(taken()):
            if not wish.json:
                print(line, flush=True)
    if wish.json:
        key = walk.target.key if hasattr(walk, "target") else ""
        print(report.as_json(wish.host, key, steps))
    else:
        print(report.summary(steps))
    return 0 if report.succeeded(steps) else 1
