"""What others want to be done on the supervisor's thread: one after another, between its own decisions."""

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
    thread: threading.Thread  # that waits for it


class Requests:
    """The requests to one supervisor.

    Args:
        wake: Makes its thread look here.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._waiting: deque[_Request] = deque()
        self._lock = threading.Lock()
        self._closed = "the tree has not been started"

    def open(self) -> None:
        """Take requests from now on."""
        self._closed = ""

    def submit(self, action: Callable[[], object], timeout: float | None) -> Any:
        """Have `action` called, and return what it returns, or raise what it raises. Any thread but the supervisor's.

        Raises:
            RuntimeError: If the tree does not run, or has begun to end, or to stop the actor that waits here.
            AskTimeoutError: If it was not begun, or not done, within `timeout` seconds; if not begun, it is void.
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
        """Whether there is one."""
        return bool(self._waiting)

    def run_next(self) -> None:
        """Do what is wanted next."""
        with self._lock:
            if not self._waiting:
                return
            request = self._waiting.popleft()
        try:
            request.reply.settle(request.action())
        except BaseException as error:  # noqa: BLE001 - it is raised where it was wanted
            request.reply.settle(error=error)

    def refuse(self, thread: threading.Thread | None) -> None:
        """Let an actor that is to stop wait no longer: its supervisor would wait for it, and it for its supervisor."""
        with self._lock:
            refused = [request for request in self._waiting if request.thread is thread]
            for request in refused:
                self._waiting.remove(request)
        for request in refused:
            request.reply.settle(error=RuntimeError("who waits for this is being stopped"))

    def close(self) -> None:
        """Refuse all that wait, and all that come."""
        with self._lock:
            self._closed = "the tree has ended, or is about to"
            refused = list(self._waiting)
            self._waiting.clear()
        for request in refused:
            request.reply.settle(error=RuntimeError(self._closed))
