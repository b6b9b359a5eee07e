"""Delivers messages by id, also across a restart of the receiver.

A mailbox belongs to an id, not to one incarnation of an actor. A message to an actor that is down is kept, and is
delivered once the actor is up again. When an actor crashes, is stopped or is abandoned, the messages that it had not
begun go to its next incarnation, in order. The message that it crashed on is not repeated. So a message is handled at
most once. It is lost only if the receiver crashes on it, if the mailbox is full, or if the child or the tree ends; each
loss is reported.
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
    """The mailbox of one id, and the incarnation that takes its messages now."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.life: Incarnation | None = None  # the one that takes messages; None while the child is down
        self.inbox: queue.SimpleQueue[Any] | None = None  # its mailbox
        self.parked: deque[Any] = deque()  # the messages that wait for the next incarnation
        self.gone = ""  # why there will be no further incarnation
        self.mute = False  # whether the child is a process or a tree, which take no messages


class Directory:
    """Sends messages to the children of a tree by id. Any thread may call any method.

    Args:
        on_drop: Called, without locks held, for a message that will not be handled: with the receiver's id, and the
            message's type and the reason.
    """

    def __init__(self, on_drop: Callable[[str, str], object]) -> None:
        self._entries: dict[str, _Entry] = {}
        self._on_drop = on_drop
        self._lock = threading.RLock()

    # --- For senders --------------------------------------------------------------------------------------------------

    def send(self, to: str, message: Any, *, sender: Incarnation | None = None) -> bool:
        """Send `message` to the child `to`, without waiting.

        Returns:
            True if the message is in the mailbox, or is kept until the receiver is up again. False if the child has
            ended for good or its mailbox is full; then the message is reported as dropped, too.

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
        """Send `message` to the child `to` and wait for the answer, also across a restart of the child.

        Raises:
            AskTimeoutError: If no answer came within `timeout` seconds; a message that was not begun by then is void.
            ActorGoneError: If there will be no answer.
            UnknownActorError: If there is no such child.
            AbandonedError: If `sender` was abandoned.
            Exception: What the handler raised.
        """
        reply = Reply()
        if not self.send(to, Mail(message, reply, time.monotonic() + timeout), sender=sender):
            raise ActorGoneError(f"{to} takes no messages")
        return reply.get(timeout=timeout)

    def ref(self, child_id: str) -> ChildRef:
        """Return a pykka ref to a child, which survives the child's restarts; its `proxy()` does, too.

        Raises:
            UnknownActorError: If there is no such child.
        """
        with self._lock:
            if child_id not in self._entries:
                raise UnknownActorError(f"no actor has the id {child_id}")
        return ChildRef(self, child_id)

    def takes(self, child_id: str) -> bool:
        """Return whether messages to `child_id` are delivered or kept: it is up, or will be up again."""
        with self._lock:
            entry = self._entries.get(child_id)
            return entry is not None and not entry.gone

    def unwell(self, patience: float) -> list[str]:
        """Return the ids of the actors that would not answer now: down, or at one message for `patience` seconds.

        An actor that has called `BaseActor.busy` for the message in hand counts as well. No actor is sent a message for
        this, so none wakes up.
        """
        with self._lock:
            entries = list(self._entries.items())
        return [id_ for id_, entry in entries if not (entry.mute or (entry.life and entry.life.is_well(patience)))]

    @staticmethod
    def _park(entry: _Entry, message: Any) -> str:
        """Keep a message for the next incarnation; return the reason if it can't be kept, otherwise empty."""
        if entry.gone:
            return entry.gone
        if entry.inbox is not None or len(entry.parked) >= entry.limit:
            return "its mailbox is full"
        entry.parked.append(message)
        return ""

    # --- For an incarnation -------------------------------------------------------------------------------------------

    def deliver(self, life: Incarnation, mail: Mail) -> bool:
        """Put `mail` into the mailbox of this very incarnation, also before it is up; return False if it is over."""
        with self._lock:
            if life.inbox is None:
                return False
            life.inbox.put(mail)
            return True

    def attach(self, life: Incarnation) -> None:
        """Deliver new messages to this incarnation, after those parked while no incarnation was running.

        Raises:
            AbandonedError: If this incarnation was abandoned in the meantime.
        """
        with self._lock:
            if life.abandoned or life.inbox is None:
                raise AbandonedError(life.name)
            entry = self._entries[life.id]
            entry.life, entry.inbox = life, life.inbox
            while entry.parked:
                life.inbox.put(entry.parked.popleft())

    def detach(self, life: Incarnation, first: Any = None) -> list[Envelope[Any]]:
        """End deliveries to this incarnation; keep `first`, and the messages in its mailbox, for the next one.

        Returns:
            The messages that came through the actor's own pykka ref: they are for this incarnation only.
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
            else:  # an abandoned one returns after its successor has started, with a message that it never began
                for item in kept:
                    entry.inbox.put(item)
            return [item for item in items if isinstance(item, Envelope)]

    # --- For the supervisor -------------------------------------------------------------------------------------------

    def abandon(self, life: Incarnation) -> None:
        """Cut an incarnation off: refuse its messages from now on, and fail the asks that wait for its answers."""
        with self._lock:
            life.abandoned = life.must_leave = True
            work = life.work
            envelopes = self.detach(life)
        gone = ActorGoneError(f"{life.id} was abandoned while it handled the message")
        for reply in [work and work.reply, *(envelope.reply_to for envelope in envelopes)]:
            settle(reply, error=gone)

    def add(self, child_id: str, mailbox: int) -> None:
        """Add a child, for which up to `mailbox` unhandled messages are kept."""
        with self._lock:
            self._entries[child_id] = _Entry(mailbox)

    def remove(self, child_id: str) -> None:
        """Remove a child; its kept messages are reported as dropped."""
        self.retire(child_id)
        with self._lock:
            del self._entries[child_id]

    def expect(self, child_id: str) -> None:
        """Keep messages for `child_id` from now on: its next incarnation is about to begin."""
        with self._lock:
            entry = self._entries[child_id]
            if not entry.mute:
                entry.gone = ""

    def mute(self, child_id: str) -> None:
        """Note that `child_id` is a process or a tree: refuse messages from now on, and report kept ones as dropped."""
        with self._lock:
            self._entries[child_id].mute = True
        self.retire(child_id)

    def retire(self, child_id: str) -> None:
        """Refuse messages to `child_id`, which will not be started again, and report kept ones as dropped."""
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
    with contextlib.suppress(queue.Empty):  # its actor may take messages at the same time
        while True:
            items.append(inbox.get_nowait())
    return items
