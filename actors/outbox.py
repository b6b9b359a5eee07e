"""What is to be sent and was not yet: kept beside the publisher, so that a crash of it loses nothing."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.messages import Publish

LIMIT = 256
"""Envelopes; what is more was asked for faster than any bus takes it, and the oldest is given up."""


class Outbox:
    """A queue of envelopes; any thread puts in, the publisher sends the first and takes it out then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Publish] = deque(maxlen=LIMIT)
        self._begun = 0

    def put(self, publish: Publish) -> None:
        """Add one at the end; follow it by a `Flush` to the publisher."""
        with self._lock:
            if len(self._queue) == LIMIT:
                self._begun = 0
            self._queue.append(publish)

    def weight(self) -> int:
        """Return how many bytes wait beside envelopes."""
        with self._lock:
            return sum(publish.payload.size for publish in self._queue if publish.payload is not None)

    def first(self) -> Publish | None:
        """Return what to send next; what nobody waits for any more is left out."""
        with self._lock:
            while self._queue and time.monotonic() > self._queue[0].expires:
                self._remove_first()
            return self._queue[0] if self._queue else None

    def begin(self) -> int:
        """Count how often sending the first was begun without coming to an end: a crash each, but for the last."""
        with self._lock:
            self._begun += 1
            return self._begun

    def failed(self) -> None:
        """Sending the first ended, without success; it stays."""
        with self._lock:
            self._begun = 0

    def done(self, publish: Publish) -> None:
        """Take it out, if it is still the first."""
        with self._lock:
            if self._queue and self._queue[0] is publish:
                self._remove_first()

    def _remove_first(self) -> None:
        self._queue.popleft()
        self._begun = 0
