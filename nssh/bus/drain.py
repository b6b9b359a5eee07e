"""Follow former topics until nothing can come on them any more, by polls only: a connection for all of them is enough.

A program that read the remote's session file before it named the new topic publishes on the old one a little later. So
a former topic is polled until some seconds after the file has named another one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.base.errors import BusError
from nssh.bus import backoff
from nssh.bus.ledger import RING
from nssh.bus.losses import Lost, Reason
from nssh.bus.takeover import begin_at_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.supervision import Attempts
    from nssh.bus.client import BusClient
    from nssh.bus.ledger import Ledger
    from nssh.bus.messages import Message
    from nssh.state.former_topics import FormerTopic

GRACE: Final = 12.0
"""Seconds from the session file's change until the last poll. A shim's publish takes 10 s, with its retries; one that
takes longer looks at the session file again when it is done."""

# Seconds from one poll to the next, as long as nothing comes. In the first half minute, a read that waits 5 s for its
# answer gets it. Later ones are rare, so that ntfy does not refuse them: the session file could not be written, say.
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, *[3.0] * 10, 6.0, 12.0, 30.0)


class Drained(NamedTuple):
    """Nothing can come on this topic any more, and all that came was handed over."""

    topic: str


class Drain:
    """Polls the former topics of a session. `first` and `run` are for one thread each, the rest for any."""

    def __init__(
        self,
        client: BusClient,
        ledger: Ledger,
        topics: Sequence[FormerTopic],
        *,
        deliver: Callable[[str, list[Message]], object],
        notify: Callable[[Drained | Lost], object],
        found: Callable[[list[Message]], object],
    ) -> None:
        """Keep the parts; nothing is opened.

        Args:
            client: May be shared.
            ledger: Tells which messages were handled.
            topics: The former topics, oldest first.
            deliver: Called with a topic and messages that were not handed over before, in the order of the bus.
            notify: Called with Drained for each topic, and with Lost where the server left out messages.
            found: Called with messages that were there when a topic of another program was taken over.
        """
        self._client = client
        self._ledger = ledger
        self._deliver = deliver
        self._notify = notify
        self._found = found
        self._topics = [_Topic(one) for one in topics]
        self._polling = threading.Lock()  # held during a poll
        self._changed = threading.Condition()
        self._stopped = False
        self._begun = False

    def first(self) -> None:
        """Poll each topic once, before the present topic is followed: what came first takes effect first. Blocks.

        Raises:
            BusError: The bus can't be reached. It can be called again.
        """
        for topic in self._topics:
            if not topic.polls:
                self._poll(topic)
        with self._changed:
            self._begun = True
            self._changed.notify_all()

    def catch_up(self) -> None:
        """Hand over what was accepted by now, before something newer that came on the present topic. Blocks.

        If the bus can't be reached, it comes later.
        """
        for topic in list(self._topics):
            try:
                self._poll(topic)
            except BusError:
                return

    def run(self) -> None:
        """Go on polling after `first`, until all topics are drained or `stop` is called.

        Raises:
            Exception: Raised by a callback, or a defect. Errors of the bus are retried, not raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._begun or self._stopped)
        while self._topics and not self._stopped:
            topic = min(self._topics, key=lambda one: one.due)
            if not self._wait_for(topic):
                continue
            try:
                if self._poll(topic):
                    with self._changed:
                        self._topics.remove(topic)
                    self._notify(Drained(topic.name))
            except BusError as error:
                topic.due = time.monotonic() + backoff.delay(topic.attempts, error)

    def _wait_for(self, topic: _Topic) -> bool:
        """Wait until a topic is due; return False if `unnamed` or `stop` came first."""
        due = topic.due
        with self._changed:
            return not self._changed.wait_for(
                lambda: self._stopped or topic.due < due, max(0.0, due - time.monotonic())
            )

    def unnamed(self) -> None:
        """Note that the remote's session file names none of the topics any more."""
        with self._changed:
            for topic in self._topics:
                topic.unnamed()
            self._changed.notify_all()

    def stop(self) -> None:
        """Make `run` return; requests under way end by the client's `close`."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _poll(self, topic: _Topic) -> bool:
        """Hand over what is new on a topic, and plan the next poll; return whether this was the last one."""
        with self._polling:
            return self._poll_once(topic)

    def _poll_once(self, topic: _Topic) -> bool:
        if topic.foreign:
            begin_at_now(self._client, topic.name, self._ledger, topic.foreign, self._found)
        began = time.monotonic()
        fresh = 0
        while True:
            backlog = self._client.poll(topic.name, topic.cursor)
            if backlog.truncated and backlog:
                self._notify(Lost(Reason.TRUNCATED, 0, backlog[0].time))
            new = {one.id: one for one in backlog if one.id not in topic.handed and not self._ledger.seen(one.id)}
            if new:
                self._deliver(topic.name, list(new.values()))
                topic.remember(new)
            fresh += len(new)
            if backlog:
                topic.cursor = backlog[-1].id
            if backlog.complete or not new:
                break
        with self._changed:
            return topic.polled(began, quiet=not fresh)


class _Topic:
    """A former topic, and when it is polled next."""

    def __init__(self, former: FormerTopic) -> None:
        self.name = former.name
        self.foreign = former.foreign
        self.cursor: str | None = None
        self.handed: dict[str, None] = {}
        self.polls = 0
        self.due = 0.0
        self.attempts: Attempts = backoff.attempts(_PAUSES[-1])
        self._quiet = 0
        self._end: float | None = None
        if former.unnamed:
            # The time that another session wrote down; the clock may have been set since.
            self._end = time.monotonic() + min(max(former.unnamed + GRACE - time.time(), 0.0), GRACE)

    def unnamed(self) -> None:
        if self._end is None:
            self._end = time.monotonic() + GRACE
        self.due = min(self.due, self._end)

    def remember(self, ids: dict[str, Message]) -> None:
        self.handed |= dict.fromkeys(ids)
        while len(self.handed) > RING:
            del self.handed[next(iter(self.handed))]

    def polled(self, began: float, *, quiet: bool) -> bool:
        """Plan the next poll after one that began then; return whether none is needed."""
        self.polls += 1
        self.attempts.reset()
        if self._end is not None and began >= self._end:
            return True
        self._quiet = self._quiet + 1 if quiet else 0
        self.due = time.monotonic() + _PAUSES[min(self._quiet, len(_PAUSES) - 1)]
        if self._end is not None:
            self.due = min(self.due, max(self._end, time.monotonic()))
        return False
