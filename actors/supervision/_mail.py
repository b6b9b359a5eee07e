"""A message on its way, and the answer to it."""

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
    """No child of the tree has this id: a slip in the code, not a state to wait out."""


class AskError(Exception):
    """An ask got no answer."""


class AskTimeoutError(AskError, pykka.Timeout, TimeoutError):
    """No answer came within the timeout; the message may still be handled, or not."""


class ActorGoneError(AskError, pykka.ActorDeadError):
    """There will be no answer: the actor is gone for good, was abandoned over the message, or its mailbox is full."""


class Reply(pykka.Future[Any]):
    """The answer to an ask, to be settled once; whoever comes second is ignored.

    A future as pykka's, on two bare locks: one decides who settles it, the other is released once it is settled.
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
        self._pending.release()  # for whoever else waits
        if self._error is not None:
            raise self._error
        return self._value

    # As pykka's loop, and whoever else is given a future, would settle it.

    def set(self, value: Any = None) -> None:
        """Answer with `value`."""
        self.settle(value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an error, as `sys.exc_info()` has it."""
        kind, error, _ = sys.exc_info() if exc_info is None else exc_info
        self.settle(error=kind() if error is None and kind is not None else error)


class Mail(NamedTuple):
    """A message that more than itself has to be known of; one that is only told travels bare."""

    message: Any
    reply: pykka.Future[Any] | None = None
    expires: float = math.inf  # when its asker stops waiting
    bound: bool = False  # to this generation: from an actor's own timers and threads, void once it is gone
    taken: Callable[[], object] | None = None  # called when the actor takes it up, or when it is void

    @property
    def expired(self) -> bool:
        """Whether its asker has stopped waiting, by the same clock."""
        return self.expires < math.inf and time.monotonic() > self.expires


def settle(reply: pykka.Future[Any] | None, value: Any = None, error: BaseException | None = None) -> None:
    """Answer whoever asked, if somebody did; the first answer counts."""
    if reply is None:
        return
    try:
        if error is None:
            reply.set(value)
        else:
            reply.set_exception((type(error), error, error.__traceback__))
    except queue.Full:  # pykka's own future, which an abandonment has settled
        pass
