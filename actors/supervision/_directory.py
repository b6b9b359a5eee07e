"""Who is where: delivers messages by id, also across a restart.

A mailbox belongs to an id, not to one life of an actor. A message sent while its receiver is down is kept, and
delivered once it is up again; when an actor crashes, is stopped or abandoned, the messages that it had not yet begun go
to its successor, in order. The message that it crashed on is not repeated. So a message is handled at most once, and it
is lost only as the one that its receiver crashed on, to a full mailbox, or by the end of the child or the tree; each of
these is reported.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pykka

from actors.supervision._incarnation import AbandonedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.supervision._incarnation import Incarnation


class UnknownActorError(LookupError):
    """No child of the tree has this id: a slip in the code, not a state to wait out."""


class AskError(Exception):
    """An ask got no answer."""


class AskTimeoutError(AskError, TimeoutError):
    """No answer came within the timeout; the message may still be handled, or not."""


class ActorGoneError(AskError):
    """There will be no answer: the actor is gone for good, was abandoned over the message, or its mailbox is full."""


class Reply:
    """The answer to an ask, to be settled once; whoever comes second is ignored."""

    def __init__(self) -> None:
        self._settled = threading.Event()
        self._lock = threading.Lock()
        self._value: Any = None
        self._error: Exception | None = None

    def settle(self, value: Any = None, error: Exception | None = None) -> None:
        """Answer with `value`, or with `error`."""
        with self._lock:
            if not self._settled.is_set():
                self._value, self._error = value, error
                self._settled.set()

    def get(self, timeout: float) -> Any:
        """Wait for the answer.

        Raises:
            AskTimeoutError: If there is none within `timeout` seconds.
            Exception: What the handler raised.
        """
        if not self._settled.wait(timeout):
            raise AskTimeoutError(f"no answer within {timeout:g} s")
        if self._error is not None:
            raise self._error
        return self._value


class Mail(NamedTuple):
    """A message on its way."""

    message: Any
    reply: Reply | None = None
    expires: float = math.inf  # when its asker stops waiting
    bound: bool = False  # to this generation: from an actor's own timers and threads, void once it is gone
    taken: Callable[[], object] | None = None  # called when the actor takes it up, or when it is void

    @property
    def expired(self) -> bool:
        """Whether its asker has stopped waiting, by the same clock."""
        return time.monotonic() > self.expires


class _Entry:
    """Where the messages for one id go."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.incarnation: Incarnation | None = None  # the one that takes messages
        self.parked: deque[Mail] = deque()  # while there is none
        self.gone = False  # and none will come


class Directory:
    """The ids of a tree, and the way to whoever bears them now. All methods may be called from any thread.

    Args:
        mailboxes: For each id, the number of unhandled messages that are kept.
        on_drop: Called, without locks, for a message that nobody will handle: (id, what and why).
    """

    def __init__(self, mailboxes: dict[str, int], on_drop: Callable[[str, str], object]) -> None:
        self._entries = {child_id: _Entry(limit) for child_id, limit in mailboxes.items()}
        self._on_drop = on_drop
        self._lock = threading.RLock()

    # --- For actors and others who have something to say --------------------------------------------------------------

    def send(self, to: str, message: Any, *, sender: Incarnation | None = None) -> bool:
        """Tell `to` something, without waiting.

        Returns:
            Whether it was accepted: it is in the mailbox, or kept until the receiver is up again. False: the child has
            ended for good, or its mailbox is full; this is reported as dropped, too.

        Raises:
            UnknownActorError: If there is no such child.
            AbandonedError: If `sender` was abandoned.
        """
        return self._post(to, Mail(message), sender)

    def ask(self, to: str, message: Any, timeout: float, *, sender: Incarnation | None = None) -> Any:
        """Tell `to` something and wait for the answer, also across a restart of `to`.

        Raises:
            AskTimeoutError: If none came within `timeout` seconds; a message that was not begun by then is void.
            ActorGoneError: If there will be none.
            UnknownActorError: If there is no such child.
            AbandonedError: If `sender` was abandoned.
            Exception: What the handler raised.
        """
        reply = Reply()
        if not self._post(to, Mail(message, reply, time.monotonic() + timeout), sender):
            raise ActorGoneError(f"{to} takes no messages")
        return reply.get(timeout)

    def unwell(self, patience: float) -> list[str]:
        """Return the ids of those that would not answer now: down, or at one message for `patience` seconds.

        Who has declared a long task (`BaseActor.busy`) is well. Costs nobody a message, as the health check.
        """
        with self._lock:
            entries = list(self._entries.items())
        return [child for child, entry in entries if not (entry.incarnation and entry.incarnation.is_well(patience))]

    def _post(self, to: str, mail: Mail, sender: Incarnation | None) -> bool:
        with self._lock:
            if sender is not None and sender.abandoned:
                raise AbandonedError(sender.name)
            entry = self._entries.get(to)
            if entry is None:
                raise UnknownActorError(f"no actor has the id {to}")
            refusal = self._put(entry, mail)
        if refusal:
            self._on_drop(to, f"{type(mail.message).__name__}: {refusal}")
        return not refusal

    @staticmethod
    def _put(entry: _Entry, mail: Mail) -> str:
        """Deliver or park a message; returns why not."""
        if entry.gone:
            return "it has ended"
        if entry.incarnation is not None and entry.incarnation.ref is not None:
            ref = entry.incarnation.ref
            if _inbox(ref).qsize() >= entry.limit:
                return "its mailbox is full"
            try:
                ref.tell(mail)
            except pykka.ActorDeadError:
                pass  # it is just about to detach itself: park the message for its successor
            else:
                return ""
        if len(entry.parked) >= entry.limit:
            return "its mailbox is full"
        entry.parked.append(mail)
        return ""

    # --- For an actor about itself ------------------------------------------------------------------------------------

    def deliver(self, incarnation: Incarnation, mail: Mail) -> bool:
        """Put `mail` into the mailbox of just this life, up or not yet; False if it is over."""
        with self._lock:
            ref = incarnation.ref
            if ref is None or not ref.is_alive():
                return False
            ref.tell(mail)
            return True

    def attach(self, incarnation: Incarnation) -> None:
        """This life takes messages from now on; it is given what was kept for it.

        Raises:
            AbandonedError: If it was given up in the meantime.
        """
        with self._lock:
            if incarnation.abandoned:
                raise AbandonedError(incarnation.name)
            entry = self._entries[incarnation.id]
            entry.incarnation = incarnation
            if incarnation.ref is not None:
                while entry.parked:
                    incarnation.ref.tell(entry.parked.popleft())

    def detach(self, incarnation: Incarnation, first: Mail | None = None) -> None:
        """This life takes no more messages; `first`, and what is in its mailbox, is kept for the next one."""
        with self._lock:
            ref = incarnation.ref
            mails = [] if first is None else [first]
            if ref is not None:
                mails += _drain(ref)
            for mail in mails:
                if mail.taken is not None:
                    mail.taken()
            entry = self._entries[incarnation.id]
            if entry.incarnation is incarnation:
                entry.incarnation = None
            entry.parked.extendleft(mail for mail in reversed(mails) if not mail.bound)

    # --- For the supervisor -------------------------------------------------------------------------------------------

    def abandon(self, incarnation: Incarnation) -> None:
        """From now on nothing that `incarnation` says is heard, and whoever waits for its answer waits no longer."""
        with self._lock:
            incarnation.abandoned = True
            ref, reply = incarnation.ref, incarnation.reply
            if ref is not None:  # nothing is delivered any more; should it ever come back, its loop ends
                pykka.ActorRegistry.unregister(ref)
                ref.actor_stopped.set()
            self.detach(incarnation)
        if reply is not None:
            reply.settle(error=ActorGoneError(f"{incarnation.id} was abandoned while it handled the message"))

    def expect(self, child_id: str) -> None:
        """A life of `child_id` is about to begin: keep messages for it."""
        with self._lock:
            self._entries[child_id].gone = False

    def retire(self, child_id: str) -> None:
        """`child_id` is down for good: refuse messages, and report those that were kept as dropped."""
        with self._lock:
            entry = self._entries[child_id]
            entry.gone = True
            mails = list(entry.parked)
            entry.parked.clear()
        for mail in mails:
            if mail.reply is not None:
                mail.reply.settle(error=ActorGoneError(f"{child_id} has ended"))
            self._on_drop(child_id, f"{type(mail.message).__name__}: it has ended")


def _inbox(ref: pykka.ActorRef[Any]) -> queue.Queue[Any]:
    # pykka types an inbox as what its loop needs; a threading actor's is a Queue.
    return cast("queue.Queue[Any]", ref.actor_inbox)


def _drain(ref: pykka.ActorRef[Any]) -> Iterable[Mail]:
    """Take the messages out of an inbox; pykka's own (a request to stop, an ask through a ref) stay in, in order."""
    inbox = _inbox(ref)
    envelopes = []
    with contextlib.suppress(queue.Empty):  # its owner may be taking messages at the same time
        while True:
            envelopes.append(inbox.get_nowait())
    for envelope in envelopes:
        if not isinstance(envelope.message, Mail):
            inbox.put(envelope)
    return [envelope.message for envelope in envelopes if isinstance(envelope.message, Mail)]
