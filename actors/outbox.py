"""The queue of envelopes to send. It is kept outside the publisher, so that a crash of the publisher loses none."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.messages import Publish

LIMIT = 256
"""Envelopes. If there are more, the remote asks faster than the bus takes answers; the oldest is dropped."""


class Outbox:
    """A queue of envelopes. Any thread adds to it; the publisher sends the first, and removes it once it is sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Publish] = deque(maxlen=LIMIT)
        self._begun = 0

    def put(self, publish: Publish) -> None:
        """Add an envelope at the end. Then send `Flush` to the publisher."""
        with self._lock:
            if len(self._queue) == LIMIT:
                self._begun = 0
            self._queue.append(publish)

    def weight(self) -> int:
        """Return how many bytes of payload are in the queue."""
        with self._lock:
            return sum(publish.payload.size for publish in self._queue if publish.payload is not None)

    def first(self) -> Publish | None:
        """Return the first envelope, None if there is none; remove those that have expired."""
        with self._lock:
            while self._queue and time.monotonic() > self._queue[0].expires:
                self._remove_first()
            return self._queue[0] if self._queue else None

    def begin(self) -> int:
        """Count this attempt to send the first; return how many did not finish. All but the newest ended in a crash."""
        with self._lock:
            self._begun += 1
            return self._begun

    def failed(self) -> None:
        """Note that the attempt to send the first has failed without a crash; it stays in the queue."""
        with self._lock:
            self._begun = 0

    def done(self, publish: Publish) -> None:
        """Remove an envelope, if it is still the first."""
        with self._lock:
            if self._queue and self._queue[0] is publish:
                self._remove_first()

    def _remove_first(self) -> None:
        self._queue.popleft()
        self._begun = 0
