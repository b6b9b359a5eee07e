"""Who is where: delivers messages by id, also across a restart.

A mailbox belongs to an id, not to one life of an actor. A message sent while its receiver is down is kept, and
delivered once it is up again; when an actor crashes, is stopped or abandoned, the messages that it had not yet begun go
to its successor, in order. The message that it crashed on is not repeated. So a message is handled at most once, and it
is lost only as the one that its receiver crashed on, to a full mailbox, or by the end of the child or the tree; each of
these is reported.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from pykka._envelope import Envelope

from actors.supervision._incarnation import AbandonedError
from actors.supervision._mail import ActorGoneError, Mail, Reply, UnknownActorError, settle
from actors.supervision._ref import ChildRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._incarnation import Incarnation


class _Entry:
    """Where the messages for one id go."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.life: Incarnation | None = None  # the one that takes messages
        self.inbox: queue.SimpleQueue[Any] | None = None  # its
        self.parked: deque[Any] = deque()  # while there is none
        self.gone = ""  # why none will come
        self.mute = False  # a process, or a tree: nobody who takes messages


class Directory:
    """The ids of a tree, and the way to whoever bears them now. All methods may be called from any thread.

    Args:
        on_drop: Called, without locks, for a message that nobody will handle: (id, what and why).
    """

    def __init__(self, on_drop: Callable[[str, str], object]) -> None:
        self._entries: dict[str, _Entry] = {}
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
        with self._lock:
            if sender is not None and sender.abandoned:
                raise AbandonedError(sender.name)
            entry = self._entries.get(to)
            if entry is None:
                raise UnknownActorError(f"no actor has the id {to}")
            inbox = entry.inbox
            if inbox is not None and inbox.qsize() < entry.limit:
                inbox.put(message)
                return True
            refusal = self._park(entry, message)
        if refusal:
            self._on_drop(to, f"{_type_of(message)}: {refusal}")
        return not refusal

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
        if not self.send(to, Mail(message, reply, time.monotonic() + timeout), sender=sender):
            raise ActorGoneError(f"{to} takes no messages")
        return reply.get(timeout=timeout)

    def ref(self, child_id: str) -> ChildRef:
        """Return a ref to a child, which survives its restarts, for whoever likes pykka's refs and proxies better.

        Raises:
            UnknownActorError: If there is no such child.
        """
        with self._lock:
            if child_id not in self._entries:
                raise UnknownActorError(f"no actor has the id {child_id}")
        return ChildRef(self, child_id)

    def takes(self, child_id: str) -> bool:
        """Whether `child_id` is up, or will be up again, so that messages to it are delivered or kept."""
        with self._lock:
            entry = self._entries.get(child_id)
            return entry is not None and not entry.gone

    def unwell(self, patience: float) -> list[str]:
        """Return the ids of the actors that would not answer now: down, or at one message for `patience` seconds.

        Who has declared a long task (`BaseActor.busy`) is well. Costs nobody a message, as the health check.
        """
        with self._lock:
            entries = list(self._entries.items())
        return [id_ for id_, entry in entries if not (entry.mute or (entry.life and entry.life.is_well(patience)))]

    @staticmethod
    def _park(entry: _Entry, message: Any) -> str:
        """Keep a message for a life to come; returns why not."""
        if entry.gone:
            return entry.gone
        if entry.inbox is not None or len(entry.parked) >= entry.limit:
            return "its mailbox is full"
        entry.parked.append(message)
        return ""

    # --- For an actor about itself ------------------------------------------------------------------------------------

    def deliver(self, life: Incarnation, mail: Mail) -> bool:
        """Put `mail` into the mailbox of just this life, up or not yet; False if it is over."""
        with self._lock:
            if life.inbox is None:
                return False
            life.inbox.put(mail)
            return True

    def attach(self, life: Incarnation) -> None:
        """Deliver new messages to this life, after those that were kept while there was none.

        Raises:
            AbandonedError: If it was given up in the meantime.
        """
        with self._lock:
            if life.abandoned or life.inbox is None:
                raise AbandonedError(life.name)
            entry = self._entries[life.id]
            entry.life, entry.inbox = life, life.inbox
            while entry.parked:
                life.inbox.put(entry.parked.popleft())

    def detach(self, life: Incarnation, first: Any = None) -> list[Envelope[Any]]:
        """Deliver nothing to this life any more; keep `first`, and what is in its mailbox, for the next one.

        Returns:
            What came through its pykka ref, and so is to this life only.
        """
        with self._lock:
            items = [] if first is None else [first]
            if life.inbox is not None:
                items += _drain(life.inbox)
                life.inbox = None
            entry = self._entries[life.id]
            if entry.life is life:
                entry.life = entry.inbox = None
            kept = []
            for item in items:
                if isinstance(item, Mail) and item.taken is not None:
                    item.taken()
                if not isinstance(item, Envelope) and not (isinstance(item, Mail) and item.bound):
                    kept.append(item)
            if entry.inbox is None:
                entry.parked.extendleft(reversed(kept))
            else:  # a ghost that had taken a message, and was given up before it began, comes back after its successor
                for item in kept:
                    entry.inbox.put(item)
            return [item for item in items if isinstance(item, Envelope)]

    # --- For the supervisor -------------------------------------------------------------------------------------------

    def abandon(self, life: Incarnation) -> None:
        """From now on nothing that `life` says is heard, and whoever waits for its answer waits no longer."""
        with self._lock:
            life.abandoned = life.must_leave = True
            work = life.work
            envelopes = self.detach(life)
        gone = ActorGoneError(f"{life.id} was abandoned while it handled the message")
        for reply in [work and work.reply, *(envelope.reply_to for envelope in envelopes)]:
            settle(reply, error=gone)

    def add(self, child_id: str, mailbox: int) -> None:
        """There is a child `child_id`, for which up to `mailbox` unhandled messages are kept."""
        with self._lock:
            self._entries[child_id] = _Entry(mailbox)

    def remove(self, child_id: str) -> None:
        """There is none any more."""
        self.retire(child_id)
        with self._lock:
            del self._entries[child_id]

    def expect(self, child_id: str) -> None:
        """A life of `child_id` is about to begin: keep messages for it."""
        with self._lock:
            entry = self._entries[child_id]
            if not entry.mute:
                entry.gone = ""

    def mute(self, child_id: str) -> None:
        """What lives as `child_id` is no actor: refuse messages from now on, and report those that were kept."""
        with self._lock:
            self._entries[child_id].mute = True
        self.retire(child_id)

    def retire(self, child_id: str) -> None:
        """Refuse messages to `child_id`, which will not live again, and report those that were kept as dropped."""
        with self._lock:
            entry = self._entries[child_id]
            entry.gone = why = "it is no actor" if entry.mute else "it has ended"
            items = list(entry.parked)
            entry.parked.clear()
        for item in items:
            if isinstance(item, Mail):
                settle(item.reply, error=ActorGoneError(f"{child_id}: {why}"))
            self._on_drop(child_id, f"{_type_of(item)}: {why}")


def _type_of(item: Any) -> str:
    return type(item.message if isinstance(item, Mail) else item).__name__


def _drain(inbox: queue.SimpleQueue[Any]) -> list[Any]:
    items = []
    with contextlib.suppress(queue.Empty):  # its owner may be taking messages at the same time
        while True:
            items.append(inbox.get_nowait())
    return items
