"""What those who act are given: each actor one message after another, in the order of the bus, and again after a crash.

One message at a time, because then it is known which one an actor crashed on, none overtakes another however often
actors are restarted, and a backlog waits here instead of overflowing a mailbox.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.messages import Work

ATTEMPTS = 2
"""A message that its actor crashed on is given to it again once; then it is what crashes, and is let go."""


class Line:
    """The messages for one actor; for one thread. What a method returns is to be sent, or None."""

    def __init__(self) -> None:
        self._waiting: deque[Work] = deque()
        self._given: Work | None = None
        self._postponed: dict[str, Work] = {}

    def __bool__(self) -> bool:
        """Whether anything is not done."""
        return self._given is not None or bool(self._waiting) or bool(self._postponed)

    def add(self, work: Work) -> Work | None:
        """Put one more at the end."""
        self._waiting.append(work)
        return self._next()

    def done(self, message_id: str) -> Work | None:
        """A message took effect, or never will; one that is not known is none of ours any more."""
        self._postponed.pop(message_id, None)
        if self._given is not None and self._given.id == message_id:
            self._given = None
        return self._next()

    def postpone(self, message_id: str) -> Work | None:
        """The actor keeps a message for later, and can take others meanwhile."""
        if self._given is not None and self._given.id == message_id:
            self._postponed[message_id] = self._given
            self._given = None
        return self._next()

    def again(self) -> tuple[Work | None, Work | None]:
        """The actor was restarted: what it was given and did not finish is to be given again.

        Returns:
            What to send, and what to let go because it was given as often as may be.
        """
        given, self._given = self._given, None
        failed = given if given is not None and given.attempt >= ATTEMPTS else None
        if given is not None and failed is None:
            self._waiting.appendleft(given._replace(attempt=given.attempt + 1))
        self._waiting.extendleft(reversed(self._postponed.values()))
        self._postponed.clear()
        return self._next(), failed

    def _next(self) -> Work | None:
        if self._given is not None or not self._waiting:
            return None
        self._given = self._waiting.popleft()
        return self._given
