"""Waiting for a condition, without fixed sleeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return when `condition` is true, looked at again after 5 ms and twice as long each time; fail after `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(pause)
        pause = min(pause * 2, 0.2)
