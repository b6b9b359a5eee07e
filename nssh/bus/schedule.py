"""When the feed polls: around the opening of its stream, and to confirm what arrived live."""

from __future__ import annotations

from typing import Final

SETTLE_SECONDS: Final = 2.0
"""After the open event. What fell between replay and live stream is stored by then (docs/ntfy.md, "The seam")."""
CONFIRM_SECONDS: Final = 10.0
"""Between polls that only confirm live traffic."""
BUSY_SECONDS: Final = 60.0
"""Live traffic without a quiet moment is confirmed this often, so that the cursor never falls far behind."""
IDLE_SECONDS: Final = 1800.0
"""Without any traffic, so that it is known how far the topic was followed if this process dies."""


class Schedule:
    """The next poll of one life of a stream; all times are seconds of the feed's clock."""

    def __init__(self, opened: float) -> None:
        """Begin with a poll that is due at once; `opened` is when the stream's open event came."""
        self.opened = opened
        self._settle: float | None = opened
        self._first_live: float | None = None
        self._last_live = 0.0
        self._last_poll = opened
        self._not_before = 0.0

    def live(self, now: float) -> None:
        """Messages arrived live: the server's cache is to confirm them."""
        self._last_live = now
        if self._first_live is None:
            self._first_live = now

    def at_once(self, now: float) -> None:
        """Something was left out, or may be: poll now, and again if a poll is under way."""
        self._settle = now

    def polled(self, started: float) -> None:
        """A poll that began at `started` succeeded."""
        self._last_poll = started
        settled = self.opened + SETTLE_SECONDS
        if self._settle is None or self._settle <= started:  # else it was asked for meanwhile
            self._settle = settled if started < settled else None
        if self._first_live is not None and started >= self._last_live + SETTLE_SECONDS:
            self._first_live = None

    def failed(self, retry_at: float) -> None:
        """A poll failed; none before `retry_at`."""
        self._not_before = retry_at

    def due(self) -> float:
        """When to poll, as things stand."""
        times = [self._last_poll + IDLE_SECONDS if self._settle is None else self._settle]
        if self._first_live is not None:
            quiet = self._last_live + SETTLE_SECONDS
            times.append(max(min(quiet, self._first_live + BUSY_SECONDS), self._last_poll + CONFIRM_SECONDS))
        return max(min(times), self._not_before)
