"""Runs `nssh doctor`: takes the steps, and prints what each found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.doctor import report, step_order
from nssh.doctor.step_runner import Examination, go

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.doctor.doctor_options import DoctorOptions
    from nssh.doctor.report import Found


def run(options: DoctorOptions) -> int:
    """Run `nssh doctor` and return its exit code: 0 if nothing is wrong, else 1."""
    exam = Examination(options)
    steps: list[Found] = []

    def taken() -> Iterator[Found]:
        for found in go(exam, step_order.steps(exam)):
            steps.append(found)
            yield found

    with exam.undo:
        for line in report.told(taken()):
            if not options.json:
                print(line, flush=True)
    if options.json:
        key = exam.target.key if hasattr(exam, "target") else ""
        print(report.as_json(options.host, key, steps))
    else:
        print(report.summary(steps))
    return 0 if report.succeeded(steps) else 1
