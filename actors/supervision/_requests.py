"""Run actions of other threads on the supervisor's thread, one after another, between its own decisions."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.supervision._mail import AskTimeoutError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable


class _Request(NamedTuple):
    action: Callable[[], object]
    reply: Reply
    thread: threading.Thread  # the one that waits for the reply


class Requests:
    """The requests to one supervisor.

    Args:
        wake: Wakes the supervisor's thread, which then calls `run_next`.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._waiting: deque[_Request] = deque()
        self._lock = threading.Lock()
        self._closed = "the tree has not been started"

    def open(self) -> None:
        """Accept requests from now on."""
        self._closed = ""

    def submit(self, action: Callable[[], object], timeout: float | None) -> Any:
        """Have `action` called on the supervisor's thread; return or raise what it does. Any other thread; blocks.

        Raises:
            RuntimeError: If the tree does not run or is ending, or the supervisor stops the actor that waits here.
            AskTimeoutError: If the action was not done within `timeout` seconds; if it was not begun, it is void.
        """
        request = _Request(action, Reply(), threading.current_thread())
        with self._lock:
            if self._closed:
                raise RuntimeError(self._closed)
            self._waiting.append(request)
        self._wake()
        try:
            return request.reply.get(timeout=timeout)
        except AskTimeoutError:
            with self._lock:
                if request in self._waiting:
                    self._waiting.remove(request)
            raise

    @property
    def waiting(self) -> bool:
        """Whether there is a request."""
        return bool(self._waiting)

    def run_next(self) -> None:
        """Run the next request, if there is one. On the supervisor's thread."""
        with self._lock:
            if not self._waiting:
                return
            request = self._waiting.popleft()
        try:
            request.reply.settle(request.action())
        except BaseException as error:  # noqa: BLE001 - it is raised on the requesting thread
            request.reply.settle(error=error)

    def refuse(self, thread: threading.Thread | None) -> None:
        """Refuse the requests of an actor's thread that is to stop: it and the supervisor would wait for each other."""
        with self._lock:
            refused = [request for request in self._waiting if request.thread is thread]
            for request in refused:
                self._waiting.remove(request)
        for request in refused:
            request.reply.settle(error=RuntimeError("who waits for this is being stopped"))

    def close(self) -> None:
        """Refuse all waiting requests, and all later ones."""
        with self._lock:
            self._closed = "the tree has ended, or is about to"
            refused = list(self._waiting)
            self._waiting.clear()
        for request in refused:
            request.reply.settle(error=RuntimeError(self._closed))
