"""Between the feed and those who act: what is in flight is neither handed over again nor yet counted as handled."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nssh.bus.ledger import Ledger


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

    @property
    def cursor(self) -> str | None:
        """Where the feed goes on: this process knows what is in flight, so it need not ask for it again."""
        with self._lock:
            return self._cursor or self.ledger.cursor

    @property
    def in_flight(self) -> int:
        """Messages handed over and not done."""
        with self._lock:
            return len(self._in_flight)

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
            self._cursor = message_id
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
        reached = None
        while self._cursors and not self._cursors[0][1]:
            reached = self._cursors.pop(0)[0]
        if reached is not None:
            self.ledger.set_cursor(reached)
