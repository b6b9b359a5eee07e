"""Exactly once: the messages of a topic between their arrival and their effect.

    feed ── FeedMemory ──▶ Deliveries ──▶ one worker for each kind of message
                               │
                             Ledger: what a process after this one goes by

Rules, for whatever dies at whichever moment:

- A message is *in flight* from its arrival until it is done. The cursor on disk passes it only then, so that a process
  after this one finds it again.
- What is done is claimed in the ledger, under the message's id and its *key*: a program that got no answer publishes
  again, as another message with the same key. Its worker claims it, since that may outlive everybody else; whoever gets
  a copy of it finds the claim.
- Each worker is handed one message at a time, in the order of the bus. So it is known which one a worker crashed on,
  and a backlog waits here instead of overflowing a mailbox.
- A message that its worker crashed on is handed out once more. Then it is what crashes, and is let go. That the last
  attempt has begun is in the ledger: a message that takes the whole process with it is not tried by the next one.
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
"""How often a message is handed out; if its worker crashed on each attempt, the message is let go."""
FETCHES: Final = 5
"""How often a text is asked for that the server keeps in a file, while the bus fails."""


class Delivery(NamedTuple):
    """A message of the bus, checked, for the worker who acts on it."""

    id: str
    to: str
    """The worker."""
    key: str
    """Its sender's own id, the same in a repetition, or else the message's id."""
    envelope: Envelope
    attachment: Attachment | None = None
    time: int = 0
    """When it was sent, seconds since the epoch, by the server's clock."""
    held: bool = False
    """An `open` that is not to be opened by itself."""
    attempt: int = 1


class Moved(NamedTuple):
    """The feed's cursor moved to this message."""

    cursor: str


class Deliveries:
    """Knows what is in flight, and what each worker is to be handed next; for one thread.

    After each change, hand out what `due` returns.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Begin with nothing in flight; `ledger` is the topic's, whose lease is held while there are messages."""
        self._ledger = ledger
        self._fetches: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget what is in flight: a feed from the cursor on disk brings it again."""
        self._in_flight: dict[str, Delivery | None] = {}  # None while nobody has looked into the message
        self._keys: set[str] = set()
        self._queues: dict[str, _Queue] = {}
        # Cursors that wait for what was in flight when the feed set them.
        self._cursors: deque[tuple[str, set[str]]] = deque()
        self._reach: Reach | None = None

    @property
    def pending(self) -> bool:
        """Whether anything is in flight."""
        return bool(self._in_flight)

    # --- What the feed brings -----------------------------------------------------------------------------------------

    def arrive(self, message_id: str) -> bool:
        """Take a message in flight, one after another in the order of the bus; False if it is in flight already."""
        if message_id in self._in_flight:
            return False
        self._in_flight[message_id] = None
        return True

    def moved(self, cursor: str) -> None:
        """Move the cursor on disk as soon as what is in flight now is done."""
        self._cursors.append((cursor, set(self._in_flight)))
        self._advance()

    def reached(self, reach: Reach) -> None:
        """Note on disk how far the topic was followed, as soon as nothing is in flight."""
        self._reach = reach
        self._advance()

    # --- What becomes of it -------------------------------------------------------------------------------------------

    def recognize(self, delivery: Delivery) -> bool:
        """Take what a message turned out to be; return False, and be done with it, if it repeats a known one."""
        if delivery.key in self._keys or self._ledger.seen(delivery.key):
            self.discard(delivery.id)
            return False
        self._in_flight[delivery.id] = delivery
        self._keys.add(delivery.key)
        return True

    def queue(self, delivery: Delivery) -> bool:
        """Put a message behind those for the same worker.

        Returns:
            False if it was handed out for the last time before, by a process that died of it: it is let go.
        """
        if self._ledger.seen(_last(delivery.id)):
            self.discard(delivery.id)
            return False
        self._queues.setdefault(delivery.to, _Queue()).waiting.append(delivery)
        return True

    def fetch_failed(self, message_id: str) -> bool:
        """Count a failure to fetch a message's text; return whether to try it again."""
        self._fetches[message_id] += 1
        return self._fetches[message_id] < FETCHES

    def due(self) -> list[Delivery]:
        """Return what is to be handed out now, and count it as handed out."""
        found = []
        for queue in self._queues.values():
            if queue.waiting and queue.given is None and (delivery := queue.next(self._in_flight)) is not None:
                found.append(delivery)
                if delivery.attempt >= ATTEMPTS:
                    self._ledger.claim(_last(delivery.id))
        return found

    def discard(self, message_id: str) -> None:
        """Be done with a message that nobody is to act on (any more)."""
        delivery = self._in_flight.get(message_id)
        self._ledger.claim(*([delivery.key] if delivery is not None else []), message_id)
        self.done(message_id)

    def done(self, message_id: str) -> None:
        """A message took effect, or never will, and is claimed; one that is not in flight changes nothing."""
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
        """A worker keeps a message until it can be done, and can take others meanwhile."""
        delivery = self._in_flight.get(message_id)
        if delivery is not None:
            self._queues[delivery.to].postpone(message_id)

    def restarted(self, worker: str) -> Delivery | None:
        """A worker has a new life: hand out again what the one before was handed and did not finish.

        Returns:
            What was let go, because it was handed out as often as may be.
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
        for cursor in reached[-2:]:  # the last, and the one before for the anchor
            self._ledger.set_cursor(cursor)
        if self._reach is not None and not self._in_flight:
            self._ledger.set_reach(self._reach)
            self._reach = None


class _Queue:
    """The messages for one worker."""

    def __init__(self) -> None:
        self.waiting: deque[Delivery] = deque()
        self.given: Delivery | None = None
        self._postponed: dict[str, Delivery] = {}

    def next(self, in_flight: Container[str]) -> Delivery | None:
        """Return what to hand out, the first of what waits that is still in flight; only while nothing is in hand."""
        while self.waiting:
            if (first := self.waiting.popleft()).id in in_flight:
                self.given = first
                return first
        return None

    def remove(self, message_id: str) -> None:
        """Be done with what was handed out; what still waits is left to `next`."""
        self._postponed.pop(message_id, None)
        if self.given is not None and self.given.id == message_id:
            self.given = None

    def postpone(self, message_id: str) -> None:
        if self.given is not None and self.given.id == message_id:
            self._postponed[message_id], self.given = self.given, None

    def take_back(self) -> Delivery | None:
        """Put what was handed out in front again; return what must not be handed out any more."""
        given, self.given = self.given, None
        failed = given if given is not None and given.attempt >= ATTEMPTS else None
        if given is not None and failed is None:
            self.waiting.appendleft(given._replace(attempt=given.attempt + 1))
        self.waiting.extendleft(reversed(self._postponed.values()))
        self._postponed.clear()
        return failed


class FeedMemory:
    """What a feed remembers by, on its own thread: the seam between that and the thread of `Deliveries`.

    Nothing is shared but the ledger, which takes any thread, and is only read here. What the feed has to say travels
    through `tell`, behind the messages that it handed over before.
    """

    def __init__(self, ledger: Ledger, tell: Callable[[Moved | Reach], object]) -> None:
        """Begin at the cursor on disk; `tell` passes on where the cursor moved, and how far the topic was followed."""
        self._ledger = ledger
        self._tell = tell
        self._handed_over: dict[str, None] = {}
        self.cursor, self.anchor, self.reach = ledger.cursor, ledger.anchor, ledger.reach

    def seen(self, message_id: str) -> bool:
        """Whether a message was handed over before, or is done."""
        return message_id in self._handed_over or self._ledger.seen(message_id)

    def claim(self, message_id: str) -> None:
        """Note that a message was handed over."""
        self._handed_over[message_id] = None
        if len(self._handed_over) > RING:
            del self._handed_over[next(iter(self._handed_over))]

    def set_cursor(self, message_id: str) -> None:
        """Move the cursor, ahead of the one on disk."""
        if message_id != self.cursor:
            self.anchor, self.cursor = self.cursor, message_id
        self._tell(Moved(message_id))

    def set_reach(self, reach: Reach) -> None:
        """Note how far the topic was followed, ahead of what is on disk."""
        self.reach = reach
        self._tell(reach)


def _last(message_id: str) -> str:
    """Return what is claimed when a message is handed out for the last time."""
    return f"last:{message_id}"
