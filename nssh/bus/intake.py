"""Between the feed and those who act: what is in flight is neither handed over again nor yet counted as handled."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nssh.bus.ledger import Ledger
    from nssh.bus.losses import Reach


class Intake:
    """A ledger for the feed that waits for those who act; safe for any thread.

    The feed considers a message done once it has handed it over. Here it stays in flight until `done`, and the cursor
    on disk moves past it only then: a bridge that is killed meanwhile finds the message again, and none that was done.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._lock = threading.Lock()
        self._in_flight: dict[str, None] = {}
        # Cursors that wait for what was in flight when they were set.
        self._cursors: list[tuple[str, set[str]]] = []
        self._cursor: str | None = None
        self._anchor: str | None = None
        # How far the topic was followed, until that may be on disk.
        self._reach: Reach | None = None

    @property
    def cursor(self) -> str | None:
        """Where the feed goes on: this process knows what is in flight, so it need not ask for it again."""
        with self._lock:
            return self._cursor or self.ledger.cursor

    @property
    def anchor(self) -> str | None:
        """Where the cursor was before."""
        with self._lock:
            return self._anchor if self._cursor else self.ledger.anchor

    @property
    def reach(self) -> Reach:
        """How far the topic was followed."""
        with self._lock:
            return self._reach or self.ledger.reach

    def set_reach(self, reach: Reach) -> None:
        """Note how far the topic was followed; on disk as soon as nothing is in flight."""
        with self._lock:
            self._reach = reach
            self._advance()

    def seen(self, message_id: str) -> bool:
        """Whether a message was handed over before, by this process or another."""
        with self._lock:
            return message_id in self._in_flight or self.ledger.seen(message_id)

    def claim(self, message_id: str) -> bool:
        """Count a message as handled, unless somebody is still at it."""
        with self._lock:
            return message_id not in self._in_flight and self.ledger.claim(message_id)

    def set_cursor(self, message_id: str) -> None:
        """Move the cursor; on disk it follows when all that is in flight now is done."""
        with self._lock:
            if message_id != (before := self._cursor or self.ledger.cursor):
                self._anchor, self._cursor = before, message_id
            self._cursors.append((message_id, set(self._in_flight)))
            self._advance()

    def begin(self, message_id: str) -> None:
        """A message is given to somebody who acts."""
        with self._lock:
            self._in_flight[message_id] = None

    def done(self, message_id: str) -> None:
        """It took effect, or never will."""
        with self._lock:
            self._in_flight.pop(message_id, None)
            self.ledger.claim(message_id)
            for _, waiting in self._cursors:
                waiting.discard(message_id)
            self._advance()

    def _advance(self) -> None:
        reached: list[str] = []
        while self._cursors and not self._cursors[0][1]:
            reached.append(self._cursors.pop(0)[0])
        for message_id in reached[-2:]:  # the last, and the one before for the anchor
            self.ledger.set_cursor(message_id)
        if self._reach is not None and not self._in_flight:
            self.ledger.set_reach(self._reach)
            self._reach = None
