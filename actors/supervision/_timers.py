"""The tree's clock, and its timers, which share one thread."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


class Clock:
    """Tells monotonic time, and waits. Tests replace it by a clock that they set.

    `CLOCK_MONOTONIC` stands still while the machine sleeps, so that no deadline has passed when a laptop wakes up.
    """

    def monotonic(self) -> float:
        """Return the seconds since a fixed moment in the past."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait for a notification of `condition`, which the caller holds, for up to `timeout` seconds.

        It may return early, so the caller checks its condition again.
        """
        condition.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))


class Timer:
    """A callback that was scheduled. Made by `Timers.schedule`."""

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self._callback: Callable[[], object] | None = callback

    @property
    def active(self) -> bool:
        """Whether it will still fire."""
        return self._callback is not None

    def cancel(self) -> bool:
        """Prevent it from firing; return False if it has fired, is firing, or was cancelled before. Any thread."""
        return self._timers.cancel(self)

    def take(self) -> Callable[[], object] | None:
        """Return the callback the first time, None later. For `Timers`, which holds its lock meanwhile."""
        callback, self._callback = self._callback, None
        return callback


class Timers:
    """All timers of a tree, on one daemon thread, which starts with the first timer and sleeps until the next is due.

    Callbacks run on that thread, one after another, so they must not block.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()  # timers of one time fire in the order in which they were scheduled
        self._cancelled = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def schedule(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in `seconds` from now, or never if the timers are closed. Any thread."""
        timer = Timer(self, callback)
        with self._changed:
            if self._closed:
                timer.take()
                return timer
            heapq.heappush(self._heap, (self._clock.monotonic() + max(0.0, seconds), next(self._order), timer))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
                self._thread.start()
            elif self._heap[0][2] is timer:  # the thread would sleep too long
                self._changed.notify_all()
        return timer

    def close(self) -> None:
        """Drop all timers and end the thread. Blocks until a running callback has returned, unless called by it."""
        with self._changed:
            self._closed = True
            for _, _, timer in self._heap:
                timer.take()
            self._heap.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def cancel(self, timer: Timer) -> bool:
        """Cancel a timer, for `Timer.cancel`."""
        with self._changed:
            if timer.take() is None:
                return False
            # A cancelled timer stays in the heap until its time, unless most are cancelled ones, as with an actor that
            # renews a timeout with each message. The thread is not woken: at worst it wakes up once for nothing.
            self._cancelled += 1
            if self._cancelled > 64 and self._cancelled > len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if entry[2].active]
                heapq.heapify(self._heap)
                self._cancelled = 0
            return True

    def _run(self) -> None:
        while True:
            with self._changed:
                callback = self._next()
            if callback is None:
                return
            try:
                callback()
            except Exception:
                logger.exception("a timer's callback failed")

    def _next(self) -> Callable[[], object] | None:
        """Wait for the next timer that is due, and return its callback; None once closed."""
        while not self._closed:
            wait = self._heap[0][0] - self._clock.monotonic() if self._heap else None
            if wait is not None and wait <= 0:
                callback = heapq.heappop(self._heap)[2].take()
                if callback is not None:
                    return callback
                self._cancelled -= 1
            else:
                self._clock.wait(self._changed, wait)
        return None
