"""Messages in mailboxes, and the answers to asks."""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

if TYPE_CHECKING:
    from collections.abc import Callable


class UnknownActorError(LookupError):
    """No child of the tree has this id. That is a mistake in the code, so waiting does not help."""


class AskError(Exception):
    """An ask got no answer."""


class AskTimeoutError(AskError, pykka.Timeout, TimeoutError):
    """No answer came within the timeout; the message may still be handled, or not."""


class ActorGoneError(AskError, pykka.ActorDeadError):
    """No answer will come: the actor has ended for good, was abandoned during the message, or its mailbox is full."""


class Reply(pykka.Future[Any]):
    """The answer to an ask: a pykka future that is settled once. Later attempts to settle it are ignored.

    Faster than pykka's own: two bare locks. One decides which thread settles it, the other is held until it is settled.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unsettled = threading.Lock()
        self._pending = threading.Lock()
        self._pending.acquire()
        self._value: Any = None
        self._error: BaseException | None = None

    def settle(self, value: Any = None, error: BaseException | None = None) -> None:
        """Answer with `value`, or with `error`."""
        if self._unsettled.acquire(blocking=False):
            self._value, self._error = value, error
            self._pending.release()

    def get(self, *, timeout: float | None = None) -> Any:
        """Wait for the answer.

        Raises:
            AskTimeoutError: If there is none within `timeout` seconds.
            Exception: What the handler raised.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._pending.acquire(timeout=-1 if timeout is None else min(max(timeout, 0), threading.TIMEOUT_MAX)):
            raise AskTimeoutError(f"no answer within {timeout:g} s")
        self._pending.release()  # lets the next thread that waits go on
        if self._error is not None:
            raise self._error
        return self._value

    # pykka's own methods for settling a future.

    def set(self, value: Any = None) -> None:
        """Answer with `value`."""
        self.settle(value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an error, given as by `sys.exc_info()`; None: the one that is being handled."""
        kind, error, _ = sys.exc_info() if exc_info is None else exc_info
        self.settle(error=kind() if error is None and kind is not None else error)


class Mail(NamedTuple):
    """A message with what has to be known about it. A message from `send` needs none of this, and travels without."""

    message: Any
    reply: pykka.Future[Any] | None = None
    expires: float = math.inf  # when the asker stops waiting, by `time.monotonic`
    bound: bool = False  # whether it is for this incarnation only: from the actor's own timers and threads
    taken: Callable[[], object] | None = None  # called when the actor begins it, or when it is discarded

    @property
    def expired(self) -> bool:
        """Whether the asker has stopped waiting."""
        return self.expires < math.inf and time.monotonic() > self.expires


def settle(reply: pykka.Future[Any] | None, value: Any = None, error: BaseException | None = None) -> None:
    """Settle a future with a value or an error, if there is a future. Only the first answer counts."""
    if reply is None:
        return
    try:
        if error is None:
            reply.set(value)
        else:
            reply.set_exception((type(error), error, error.__traceback__))
    except queue.Full:  # one of pykka's own futures, which was settled when the actor was abandoned
        pass
