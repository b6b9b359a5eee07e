"""Notice and describe messages that the bus lost before anybody fetched them."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.base.durations import format_gap
from nssh.wire import RETENTION

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from nssh.bus.messages import Message

_SHORTEST, _LONGEST = 60, 366 * 86400  # bounds of the retention that a server may tell
_MARGIN: Final = 60
"""Seconds by which a server may remove a message earlier than it told."""


class Reach(NamedTuple):
    """How far a topic was followed; all times are the server's."""

    until: int = 0
    """Everything that was accepted before this time was fetched; seconds since the epoch, 0 if not known."""
    retention: int = RETENTION
    """Seconds that the server keeps a message, as the newest message told."""
    newest: int = 0
    """When the message at the cursor was sent; seconds since the epoch."""


def reach_after(before: Reach, until: float | None, backlog: Sequence[Message], *, forgotten: bool) -> Reach:
    """Return how far the topic was followed after a poll that returned everything.

    Args:
        before: The reach before the poll.
        until: The server's time when the poll began; None if the server never told its time.
        backlog: The messages that the poll returned.
        forgotten: The server does not know the message at the cursor, so its time is of no use any more.
    """
    newest = backlog[-1].time if backlog else 0 if forgotten else before.newest
    kept = next((one.expires - one.time for one in reversed(backlog) if one.expires is not None), before.retention)
    return Reach(int(until or before.until), min(max(kept, _SHORTEST), _LONGEST), newest)


class Reason(enum.Enum):
    """Why messages are gone; the value is for the event log."""

    EXPIRED = "expired"
    """Nobody fetched them for longer than the server keeps them."""
    FORGOTTEN = "forgotten"
    """The server lost what it should still have: it restarted without a cache file, or its spool was removed."""
    TRUNCATED = "truncated"
    """The server returns only the newest of a long backlog (ntfy from 2.28 on, `X-Messages-Truncated`)."""


class Lost(NamedTuple):
    """A span of time from which messages are lost, if there were any."""

    reason: Reason
    since: int
    """Seconds since the epoch, by the server's clock; 0 if not known."""
    until: int
    retention: int = RETENTION

    @property
    def text(self) -> str:
        """One line for the user."""
        span = f"from {_when(self.since)} to {_when(self.until)}" if self.since else f"before {_when(self.until)}"
        kept = format_gap(self.retention)
        why = {
            Reason.EXPIRED: f"nobody fetched it, and the bus keeps messages for {kept} only",
            Reason.FORGOTTEN: "the bus has lost what it had kept",
            Reason.TRUNCATED: "it was more than the bus hands over at once",
        }[self.reason]
        return f"what the remote sent {span}, if anything, is lost: {why}"


def expired(reach: Reach, now: float) -> Lost | None:
    """Return what has expired if nobody followed the topic from `reach.until` to `now`, the server's time; or None."""
    limit = int(now) - reach.retention
    if not reach.until or reach.until >= limit:
        return None
    return Lost(Reason.EXPIRED, reach.until, limit, reach.retention)


class Continuity:
    """Checks whether the server still has the message at the cursor: to an unknown cursor it would return everything.

    The first poll asks from the anchor, the message before the cursor, and has to return the message at the cursor. If
    it does not, the two may have changed places, because a server sorts messages by time but counts from an id by
    arrival. So the second poll asks from the cursor, and has to return the anchor. If it does not either, the server
    has lost both.
    """

    def __init__(self, anchor: str | None, cursor: str | None, reach: Reach, now: float | None) -> None:
        """Plan the checks.

        Args:
            anchor: The message before the cursor, or None.
            cursor: The last message that was polled, or None on a fresh topic.
            reach: How far the topic was followed.
            now: The server's time; None if the server never told its time.
        """
        self._reach = reach
        self._now = now
        self._questions: list[tuple[str | None, str]] = []
        # A message older than the retention is gone by itself, which is no loss.
        if cursor is not None and now is not None and now - reach.newest < reach.retention - _MARGIN:
            self._questions.append((anchor, cursor))
            if anchor is not None:
                self._questions.append((cursor, anchor))

    @property
    def pending(self) -> bool:
        """Whether the next poll has to ask from `since`."""
        return bool(self._questions)

    @property
    def since(self) -> str | None:
        """The id that the next poll has to ask from; only while `pending`."""
        return self._questions[0][0]

    def give_up(self) -> None:
        """Make no more checks, because the server returned only a part."""
        self._questions.clear()

    def took(self, ids: Container[str]) -> Lost | None:
        """Take the ids that the poll from `since` returned; return the loss when it is certain, None otherwise."""
        _, expected = self._questions.pop(0)
        if expected in ids:
            self._questions.clear()
        elif not self._questions and self._now is not None:
            return Lost(Reason.FORGOTTEN, self._reach.until, int(self._now), self._reach.retention)
        return None


def file_text(sent: int) -> str:
    """Return the line for the user about a lost file whose message was sent at `sent`; ntfy keeps files for 3 hours."""
    return f"something that the remote sent on {_when(sent)} is lost: the bus does not have its file any more"


def timestamp(seconds: int) -> str:
    """Return a time as the event log writes it; empty for 0, and for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
    except (ValueError, OverflowError, OSError):
        return ""


def _when(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"  # a server may say anything
