"""Decide when the feed polls: around the opening of its stream, and to confirm what arrived live."""

from __future__ import annotations

from typing import Final

SETTLE_SECONDS: Final = 2.0
"""From the open event to the second poll: the server has stored by then what it delivered before it stored it
(docs/ntfy.md, "The seam"). Also from live messages to the poll that confirms them."""
CONFIRM_SECONDS: Final = 10.0
"""The least time between polls that confirm live messages."""
BUSY_SECONDS: Final = 60.0
"""Between such polls while live messages come without a pause, so that the cursor does not fall far behind."""
IDLE_SECONDS: Final = 1800.0
"""Between polls without any traffic; they keep the record of how far the topic was followed up to date."""


class Schedule:
    """Tells when the next poll is due while one stream lives; all times are seconds of the feed's clock."""

    def __init__(self, opened: float) -> None:
        """Begin with a poll that is due at once; `opened` is the time of the stream's open event."""
        self.opened = opened
        self._settle: float | None = opened
        self._first_live: float | None = None
        self._last_live = 0.0
        self._last_poll = opened
        self._not_before = 0.0

    def live(self, now: float) -> None:
        """Note that messages arrived live, which a poll has to confirm."""
        self._last_live = now
        if self._first_live is None:
            self._first_live = now

    def at_once(self, now: float) -> None:
        """Demand a poll that begins now or later, also if one is under way: messages may be missing."""
        self._settle = now

    def polled(self, started: float) -> None:
        """Note that a poll which began at `started` succeeded."""
        self._last_poll = started
        settled = self.opened + SETTLE_SECONDS
        if self._settle is None or self._settle <= started:  # otherwise `at_once` was called after it began
            self._settle = settled if started < settled else None
        if self._first_live is not None and started >= self._last_live + SETTLE_SECONDS:
            self._first_live = None

    def failed(self, retry_at: float) -> None:
        """Note that a poll failed; the next one is not due before `retry_at`."""
        self._not_before = retry_at

    def due(self) -> float:
        """Return when the next poll is due."""
        times = [self._last_poll + IDLE_SECONDS if self._settle is None else self._settle]
        if self._first_live is not None:
            quiet = self._last_live + SETTLE_SECONDS
            times.append(max(min(quiet, self._first_live + BUSY_SECONDS), self._last_poll + CONFIRM_SECONDS))
        return max(min(times), self._not_before)
