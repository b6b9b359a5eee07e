"""Keep track of a topic's messages from their arrival to their effect, so that each takes effect exactly once.

    feed ── FeedMemory ──▶ Deliveries ──▶ one worker for each kind of message
                               │
                             Ledger: what the next process goes on from

Rules, which hold whichever actor or process dies, at any moment:

- A message is *in flight* from its arrival until it is done. Only then does the cursor on disk pass it, so that the
  next process fetches it again.
- A message that is done is claimed in the ledger, under its id and its *key*. A program that got no answer publishes
  again, as another message with the same key. The worker makes the claim, because the worker alone knows of the effect
  when all others are down; a copy of the message is recognized by the claim.
- Each worker is handed one message at a time, in the order of the bus. So it is known which message a worker crashed
  on, and a backlog waits here instead of overflowing a mailbox.
- A message that its worker crashed on is handed out once more. If the worker crashes again, the message is given up.
  The ledger notes that the last attempt has begun, so that the next process does not try a message that ends processes.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.bus.ledger import RING

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from nssh.bus.ledger import Ledger
    from nssh.bus.losses import Reach
    from nssh.bus.messages import Attachment
    from nssh.wire.envelope import Envelope

ATTEMPTS: Final = 2
"""How often a message is handed out; if its worker crashes on each attempt, the message is given up."""
FETCHES: Final = 5
"""How often the text of a message is asked for that the server keeps in a file, if the bus fails each time."""


class Delivery(NamedTuple):
    """A decoded message of the bus, for the worker that acts on it."""

    id: str
    to: str
    """The id of the worker."""
    key: str
    """What identifies the message and its repetitions: the sender's own id, or else the message's id."""
    envelope: Envelope
    attachment: Attachment | None = None
    time: int = 0
    """When it was sent, seconds since the epoch, by the server's clock."""
    held: bool = False
    """Whether this is an `open` that waits until the user opens it."""
    attempt: int = 1
    """How often the message has been handed out, this time included."""
    topic: str = ""
    """The topic that it came on, if that is a former one; an answer goes there, too. Empty for the present topic."""


class CursorMoved(NamedTuple):
    """The feed moved its cursor to this message."""

    cursor: str


class Deliveries:
    """Knows which messages are in flight, and which one each worker gets next. For one thread.

    After each change, the owner hands out what `due` returns.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Begin with nothing in flight. `ledger` is the topic's; use it only while the session holds the lease."""
        self._ledger = ledger
        self._fetches: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all messages in flight: the next feed starts at the cursor on disk, and brings them again."""
        self._in_flight: dict[str, Delivery | None] = {}  # None until the message is decoded
        self._keys: set[str] = set()
        self._queues: dict[str, _Queue] = {}
        # Cursors that the feed has set, each with the messages that were in flight then and are not done yet.
        self._cursors: deque[tuple[str, set[str]]] = deque()
        self._reach: Reach | None = None

    @property
    def pending(self) -> bool:
        """Whether anything is in flight."""
        return bool(self._in_flight)

    def has_any_of(self, topic: str) -> bool:
        """Return whether a message of a former topic is in flight."""
        return any(one is not None and one.topic == topic for one in self._in_flight.values())

    # --- Reports of the feed ------------------------------------------------------------------------------------------

    def arrive(self, message_id: str) -> bool:
        """Add a message to those in flight; return False if it is one of them. Call it in the order of the bus."""
        if message_id in self._in_flight:
            return False
        self._in_flight[message_id] = None
        return True

    def moved(self, cursor: str) -> None:
        """Move the cursor on disk, once all messages that are in flight now are done."""
        self._cursors.append((cursor, set(self._in_flight)))
        self._advance()

    def reached(self, reach: Reach) -> None:
        """Write to disk until when the topic was followed, once no message is in flight."""
        self._reach = reach
        self._advance()

    # --- The way of a message -----------------------------------------------------------------------------------------

    def recognize(self, delivery: Delivery) -> bool:
        """Take the decoded form of a message in flight; discard it and return False if its key is known already."""
        if delivery.key in self._keys or self._ledger.seen(delivery.key):
            self.discard(delivery.id)
            return False
        self._in_flight[delivery.id] = delivery
        self._keys.add(delivery.key)
        return True

    def queue(self, delivery: Delivery) -> bool:
        """Put a message at the end of its worker's queue.

        Returns:
            False if the process before this one died during the message's last attempt: the message is discarded.
        """
        if self._ledger.seen(_last(delivery.id)):
            self.discard(delivery.id)
            return False
        self._queues.setdefault(delivery.to, _Queue()).waiting.append(delivery)
        return True

    def fetch_failed(self, message_id: str) -> bool:
        """Count a failure to fetch the text of a message; return whether to try again."""
        self._fetches[message_id] += 1
        return self._fetches[message_id] < FETCHES

    def due(self) -> list[Delivery]:
        """Return the messages to hand out now. They count as handed out from then on."""
        found = []
        for queue in self._queues.values():
            if queue.waiting and queue.given is None and (delivery := queue.next(self._in_flight)) is not None:
                found.append(delivery)
                if delivery.attempt >= ATTEMPTS:
                    self._ledger.claim(_last(delivery.id))
        return found

    def discard(self, message_id: str) -> None:
        """Claim a message that no worker will act on, and remove it from those in flight."""
        delivery = self._in_flight.get(message_id)
        self._ledger.claim(*([delivery.key] if delivery is not None else []), message_id)
        self.done(message_id)

    def done(self, message_id: str) -> None:
        """Remove a message that is claimed from those in flight. A message that is not in flight changes nothing."""
        self._fetches.pop(message_id, None)
        delivery = self._in_flight.pop(message_id, None)
        if delivery is not None:
            self._keys.discard(delivery.key)
            if delivery.to in self._queues:
                self._queues[delivery.to].remove(message_id)
        for _, waiting in self._cursors:
            waiting.discard(message_id)
        self._advance()

    def postpone(self, message_id: str) -> None:
        """Note that the worker keeps a message until it can act on it, and takes the next one meanwhile."""
        delivery = self._in_flight.get(message_id)
        if delivery is not None:
            self._queues[delivery.to].postpone(message_id)

    def restarted(self, worker: str) -> Delivery | None:
        """Queue again, in front, the messages that a restarted worker was handed and did not finish.

        Returns:
            The message that is given up, since the worker crashed on its last attempt; None if there is none.
        """
        queue = self._queues.get(worker)
        failed = queue.take_back() if queue is not None else None
        if failed is not None:
            self.discard(failed.id)
        return failed

    def _advance(self) -> None:
        reached = []
        while self._cursors and not self._cursors[0][1]:
            reached.append(self._cursors.popleft()[0])
        for cursor in reached[-2:]:  # the ledger keeps the last one, and the one before as the anchor
            self._ledger.set_cursor(cursor)
        if self._reach is not None and not self._in_flight:
            self._ledger.set_reach(self._reach)
            self._reach = None


class _Queue:
    """The messages for one worker: waiting, in its hand, or postponed."""

    def __init__(self) -> None:
        self.waiting: deque[Delivery] = deque()
        self.given: Delivery | None = None
        self._postponed: dict[str, Delivery] = {}

    def next(self, in_flight: Container[str]) -> Delivery | None:
        """Return the first waiting message that is still in flight, and note it as handed out. Not while one is."""
        while self.waiting:
            if (first := self.waiting.popleft()).id in in_flight:
                self.given = first
                return first
        return None

    def remove(self, message_id: str) -> None:
        """Remove a message that was handed out; one that still waits is skipped by `next`."""
        self._postponed.pop(message_id, None)
        if self.given is not None and self.given.id == message_id:
            self.given = None

    def postpone(self, message_id: str) -> None:
        if self.given is not None and self.given.id == message_id:
            self._postponed[message_id], self.given = self.given, None

    def take_back(self) -> Delivery | None:
        """Put the unfinished messages in front again; return the one that has had its last attempt, if any."""
        given, self.given = self.given, None
        failed = given if given is not None and given.attempt >= ATTEMPTS else None
        if given is not None and failed is None:
            self.waiting.appendleft(given._replace(attempt=given.attempt + 1))
        self.waiting.extendleft(reversed(self._postponed.values()))
        self._postponed.clear()
        return failed


class FeedMemory:
    """The feed's cursor and the ids it has handed over, for the feed's thread.

    It shares only the ledger with `Deliveries`, which runs on another thread; the ledger may be used by any thread, and
    is only read here. The feed's reports go through `tell`, in one order with the messages that it hands over.
    """

    def __init__(self, ledger: Ledger, tell: Callable[[CursorMoved | Reach], object]) -> None:
        """Begin at the cursor on disk. `tell` is called with each move of the cursor and of the reach."""
        self._ledger = ledger
        self._tell = tell
        self._handed_over: dict[str, None] = {}
        self.cursor, self.anchor, self.reach = ledger.cursor, ledger.anchor, ledger.reach

    def seen(self, message_id: str) -> bool:
        """Return whether a message was handed over, or is done."""
        return message_id in self._handed_over or self._ledger.seen(message_id)

    def claim(self, message_id: str) -> None:
        """Note that a message was handed over."""
        self._handed_over[message_id] = None
        if len(self._handed_over) > RING:
            del self._handed_over[next(iter(self._handed_over))]

    def set_cursor(self, message_id: str) -> None:
        """Move the feed's cursor; the one on disk follows once the messages before it are done."""
        if message_id != self.cursor:
            self.anchor, self.cursor = self.cursor, message_id
        self._tell(CursorMoved(message_id))

    def set_reach(self, reach: Reach) -> None:
        """Note until when the topic was followed; the disk follows once no message is in flight."""
        self.reach = reach
        self._tell(reach)


def _last(message_id: str) -> str:
    """Return the key that is claimed when a message is handed out for its last attempt."""
    return f"last:{message_id}"
