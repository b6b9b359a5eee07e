"""The stream: follows the topic while this session holds the lease, and hands each message to who acts on it."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from actors.arrivals import Arrivals, UnreadError
from actors.bus_news import BusNews
from actors.messages import (
    Arrived,
    ClockJumped,
    Done,
    Drain,
    FeedNews,
    LeaseChanged,
    LinkUp,
    Log,
    Loss,
    NetworkChanged,
    Postponed,
    Redeliver,
    Report,
    Retry,
)
from actors.supervision import BaseActor
from nssh.bus.deliveries import Deliveries, FeedMemory, Moved
from nssh.bus.feed import CaughtUp, Feed
from nssh.bus.losses import Reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision import Context
    from nssh.bus.client import BusClient
    from nssh.bus.feed import News
    from nssh.bus.ledger import Ledger
    from nssh.bus.messages import Message

# Seconds between two looks at the clock, and by how much it must have jumped to mean that the machine slept.
_LOOK = 3.0
_JUMP = 10.0
# Seconds that reading one message of a backlog may take: a hundred times what it takes where nothing else is done.
_TAKE = 0.01
# Seconds until a text that the server keeps in a file is asked for again when the bus fails.
_FETCH_PAUSE = 2.0


def drift() -> float:
    """Return how far wall time is ahead of monotonic time, seconds; it grows while the machine sleeps."""
    return time.time() - time.monotonic()


class Subscriber(BaseActor):
    """Owns the feed of the topic, and hands out what it brings; starts last, when all who act are up."""

    def __init__(
        self,
        context: Context,
        client: BusClient,
        topic: str,
        ledger: Ledger,
        *,
        linked: bool,
        drift: Callable[[], float] = drift,
    ) -> None:
        """Keep the parts.

        Args:
            context: Of this life.
            client: For the feed alone.
            topic: The topic.
            ledger: The topic's, shared with those who claim in it.
            linked: The bus is reached without the remote host's connection.
            drift: What tells that the machine slept.
        """
        super().__init__(context)
        self._direct = self._linked = linked
        self._leading: bool | None = None  # not told yet
        self._client = client
        self._topic = topic
        self._ledger = ledger
        self._news = BusNews(self.send, ledger)
        self._deliveries = Deliveries(ledger)
        self._arrivals = Arrivals(client, self._deliveries, self.send, self.busy, self._news.lost)
        self._feed: Feed | None = None
        self._feeds = 0
        self._ticket = self._caught_up = 0  # of the feed, when the session is over
        self._drift = drift
        self._last_drift = drift()

    def started(self) -> None:
        """Ask whether we act, and whether the remote is reached.

        Told, not asked: the supervisor starts one actor at a time, and who would have to answer may be waiting for it.
        """
        self.watch(_LOOK, self._look_at_clock)
        self._news.report()  # a life before this one may have had the bus up
        self.send("session_registry", Report(self.context.id))
        self.send("remote_host", Report(self.context.id))

    def handle(self, message: object) -> object:  # noqa: C901, PLR0912 - one case a message, one or two lines each
        """Take what arrived, or news of the feed, of the lease, or of those who act."""
        match message:
            case Arrived(feed, messages, replayed):
                if feed == self._feeds:  # else they will come again, to the feed after that one
                    self.busy(_TAKE * len(messages))
                    try:
                        self._arrivals.take(messages, replayed=replayed)
                    except UnreadError as unread:
                        self._start_over(unread)
            case FeedNews(feed, news):
                if feed == self._feeds:
                    self._hear(news)
            case Done(message_id):
                self._deliveries.done(message_id)
            case Postponed(message_id):
                self._deliveries.postpone(message_id)
            case Redeliver(worker):
                if (failed := self._deliveries.restarted(worker)) is not None:
                    self._arrivals.tell_end(failed, "msg-failed")
            case Loss(text):
                self._news.lost(text)
            case LeaseChanged(held):
                self._lead(held=held)
            case LinkUp():
                self._linked = True
                if self._feed is not None and not self._news.up and not self._direct:
                    self._feed.nudge()  # no need to sit out the backoff
                self._follow()
            case Report():
                self._news.report()
            case Retry():
                self._follow()
            case ClockJumped():
                self._wake()
            case Drain():
                return self._drained()
        for delivery in self._deliveries.due():
            self.send(delivery.to, delivery)
        return None

    def stopped(self) -> None:
        """End the feed."""
        self._unfollow()

    def _hear(self, news: News | Moved | Reach) -> None:
        match news:
            case Moved(cursor):
                self._deliveries.moved(cursor)
            case Reach():
                self._deliveries.reached(news)
            case CaughtUp(ticket):
                self._caught_up = ticket
            case _:
                self._news.tell(news)

    def _drained(self) -> bool:
        """Whether all is done that the remote had sent when this was first asked; who leads sees to it."""
        if self._leading is not False:
            if self._feed is None:
                return False
            # The bus has it, but may not have sent it yet; and a session may be over before its bus is up.
            self._ticket = self._ticket or self._feed.catch_up()
            if self._caught_up < self._ticket:
                return False
        return not self._deliveries.pending

    def _lead(self, *, held: bool) -> None:
        if held is not self._leading:
            self._leading = held
            self._news.lead(leads=held)
        if held:
            self._follow()
        else:
            self._unfollow()
            self._ledger.close()  # who leads now writes there; should we ever lead again, it is read anew

    def _follow(self) -> None:
        if self._feed is not None or not self._leading or not self._linked:
            return
        self._feeds += 1
        tell = functools.partial(self._tell, self._feeds)
        deliver = functools.partial(self._deliver, self._feeds)
        feed = self._feed = Feed(self._client, self._topic, FeedMemory(self._ledger, tell), deliver, tell)
        self.spawn_reader(feed.run, "feed", close=feed.stop)

    def _unfollow(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()
            self._client.close()
        self._feeds += 1
        self._ticket = self._caught_up = 0
        self._deliveries.reset()
        self._news.ended()

    # On the feed's thread.

    def _deliver(self, feed: int, messages: list[Message], replayed: bool) -> None:  # noqa: FBT001 - the feed's signature
        if not self.post(Arrived(feed, tuple(messages), replayed)):
            raise _OverError

    def _tell(self, feed: int, news: News | Moved | Reach) -> None:
        self.post(FeedNews(feed, news))

    # On the actor's own.

    def _start_over(self, unread: UnreadError) -> None:
        """Let a new feed bring a message, and all after it, once more."""
        error = unread.error
        self.send("log_writer", Log("fetch-failed", {"id": unread.message_id, "err": str(error)}))
        self._unfollow()
        self.after(max(_FETCH_PAUSE, error.retry_after or 0.0), Retry())

    def _look_at_clock(self) -> ClockJumped | None:
        """Wall time runs on while a machine sleeps, monotonic time does not: a difference means that it woke.

        On the timers' thread.
        """
        drift = self._drift()
        jump, self._last_drift = drift - self._last_drift, drift
        return ClockJumped() if abs(jump) > _JUMP else None

    def _wake(self) -> None:
        """Trust no connection that was there before the machine slept."""
        self.watch(_LOOK, self._look_at_clock)
        self.send("remote_host", NetworkChanged())
        if self._feed is not None:
            self._feed.nudge()


class _OverError(Exception):
    """The life that a feed belongs to is over."""
