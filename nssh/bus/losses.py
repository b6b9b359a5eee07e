"""What of a topic is gone before anybody fetched it: how that is told, and how it is noticed."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.base.durations import format_gap
from nssh.wire import RETENTION

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from nssh.bus.messages import Message

_SHORTEST, _LONGEST = 60, 366 * 86400  # what a server may tell of itself
_MARGIN: Final = 60
"""Seconds: a server may forget a message a little early, as far as its clock and ours can be compared."""


class Reach(NamedTuple):
    """How far a topic was followed; all by the server's clock."""

    until: int = 0
    """Everything accepted before was fetched; seconds since the epoch, 0 if that is not known."""
    retention: int = RETENTION
    """Seconds that the server keeps a message, as the newest one told."""
    newest: int = 0
    """When the message of the cursor was sent; seconds since the epoch."""


def reach_after(before: Reach, until: float | None, backlog: Sequence[Message], *, forgotten: bool) -> Reach:
    """Return how far the topic was followed after a poll that returned all there was.

    Args:
        before: How far it was before.
        until: The server's time when the poll began; None if it never told.
        backlog: What it returned.
        forgotten: The server does not know the cursor; without a newer one there is nothing more to find out by it.
    """
    newest = backlog[-1].time if backlog else 0 if forgotten else before.newest
    kept = next((one.expires - one.time for one in reversed(backlog) if one.expires is not None), before.retention)
    return Reach(int(until or before.until), min(max(kept, _SHORTEST), _LONGEST), newest)


class Reason(enum.Enum):
    """Why messages are gone; the value is for the event log."""

    EXPIRED = "expired"
    """Nobody fetched them for longer than the server keeps them."""
    FORGOTTEN = "forgotten"
    """The server lost what it should still have: restarted without a cache file, its spool removed."""
    TRUNCATED = "truncated"
    """The server hands over only the newest of a long backlog (ntfy from 2.28 on, `X-Messages-Truncated`)."""


class Lost(NamedTuple):
    """Messages of a topic may be gone: nobody knows whether there were any."""

    reason: Reason
    since: int
    """Seconds since the epoch, by the server's clock; 0 if not known."""
    until: int
    retention: int = RETENTION

    @property
    def text(self) -> str:
        """What to tell the user."""
        span = f"from {_when(self.since)} to {_when(self.until)}" if self.since else f"before {_when(self.until)}"
        kept = format_gap(self.retention)
        why = {
            Reason.EXPIRED: f"nobody fetched it, and the bus keeps messages for {kept} only",
            Reason.FORGOTTEN: "the bus has lost what it had kept",
            Reason.TRUNCATED: "it was more than the bus hands over at once",
        }[self.reason]
        return f"what the remote sent {span}, if anything, is lost: {why}"


def expired(reach: Reach, now: float) -> Lost | None:
    """Return what is gone if nobody followed the topic from `reach.until` to `now`, the server's time."""
    limit = int(now) - reach.retention
    if not reach.until or reach.until >= limit:
        return None
    return Lost(Reason.EXPIRED, reach.until, limit, reach.retention)


class Continuity:
    """Whether the server still knows the place where we left off: it answers a place it does not know by everything.

    So the first poll asks from one message earlier, and the message at the cursor has to be among what it returns. If
    it is not, the two may have changed places (a server orders messages by time, and places by arrival): then a poll
    from the cursor returns the earlier one. If that fails too, the server has lost them both.
    """

    def __init__(self, anchor: str | None, cursor: str | None, reach: Reach, now: float | None) -> None:
        """Begin with what is on record.

        Args:
            anchor: The message before the cursor; None if there was none.
            cursor: The last message that was polled.
            reach: How far the topic was followed.
            now: The server's time; None if it never told.
        """
        self._reach = reach
        self._now = now
        self._questions: list[tuple[str | None, str]] = []
        # A message as old as that is gone by itself.
        if cursor is not None and now is not None and now - reach.newest < reach.retention - _MARGIN:
            self._questions.append((anchor, cursor))
            if anchor is not None:
                self._questions.append((cursor, anchor))

    @property
    def pending(self) -> bool:
        """Whether a poll is to be made that asks from `since`."""
        return bool(self._questions)

    @property
    def since(self) -> str | None:
        """Where the next poll asks from; only while `pending`."""
        return self._questions[0][0]

    def give_up(self) -> None:
        """Ask no more: what was returned is not all."""
        self._questions.clear()

    def took(self, ids: Container[str]) -> Lost | None:
        """Take what the poll from `since` returned; return what is lost, once that is certain."""
        _, expected = self._questions.pop(0)
        if expected in ids:
            self._questions.clear()
        elif not self._questions and self._now is not None:
            return Lost(Reason.FORGOTTEN, self._reach.until, int(self._now), self._reach.retention)
        return None


def file_text(sent: int) -> str:
    """Return what to tell the user of a message sent then whose file is gone: ntfy keeps files for 3 hours only."""
    return f"something that the remote sent on {_when(sent)} is lost: the bus does not have its file any more"


def timestamp(seconds: int) -> str:
    """Return a time as the event log writes it; `` for 0, or what no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
    except (ValueError, OverflowError, OSError):
        return ""


def _when(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"  # a server may say anything
