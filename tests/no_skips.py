"""A pytest plugin: in CI nothing is skipped by root, who has all that a test may need; what is skipped there fails.

The few tests that need somebody who is not root say so by a reason that begins with `root`; CI runs them as an ordinary
user, too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.system import in_ci

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and in_ci() and os.geteuid() == 0 and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith("root "):
            report.outcome = "failed"
            report.longrepr = f"skipped, which nothing is in CI: {reason}"
    return report
