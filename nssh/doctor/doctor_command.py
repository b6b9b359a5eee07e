"""`nssh doctor` in the foreground: takes the steps, and prints what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.doctor import report, step_order
from nssh.doctor.step_runner import Examination, go

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.doctor.doctor_options import DoctorOptions
    from nssh.doctor.report import Found


def run(wish: DoctorOptions) -> int:
    """Run `nssh doctor` and return its exit code: 0 if nothing is wrong, else 1."""
    walk = Examination(wish)
    steps: list[Found] = []

    def taken() -> Iterator[Found]:
        for found in go(walk, step_order.steps(walk)):
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
