"""Follows the topic while this session holds the lease, and hands each message to its worker."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from actors.arrivals import Arrivals, TextUnavailableError
from actors.bus_status import BusStatus
from actors.former_topics import FormerTopics
from actors.messages import (
    Arrived,
    ClockJumped,
    Done,
    FeedNews,
    Found,
    IsDrained,
    LeaseChanged,
    LinkUp,
    Log,
    NetworkChanged,
    Postponed,
    Redeliver,
    ReportLoss,
    ReportState,
    Retry,
    SessionFileWritten,
)
from actors.supervision import BaseActor
from nssh.bus.deliveries import CursorMoved, Deliveries, FeedMemory
from nssh.bus.drain import Drained
from nssh.bus.feed import CaughtUp, Feed
from nssh.bus.losses import Reach
from nssh.bus.takeover import begin_at_now
from nssh.state import session_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision import Context
    from nssh.bus.client import BusClient
    from nssh.bus.drain import Drain
    from nssh.bus.feed import LastHeard, News
    from nssh.bus.ledger import Ledger
    from nssh.bus.messages import Message
    from nssh.launch.session_info import SessionInfo

# Seconds between two looks at the clock, and the jump that means that the machine slept.
_LOOK = 3.0
_JUMP = 10.0
# Seconds that decoding one message of a backlog may take: a hundred times what it takes on an idle machine.
_TAKE = 0.01
# Seconds until a text that could not be fetched is asked for again.
_FETCH_PAUSE = 2.0


def drift() -> float:
    """Return the seconds by which wall time is ahead of monotonic time. They grow while the machine sleeps."""
    return time.time() - time.monotonic()


class Subscriber(BaseActor):
    """Owns the feed of the topic, and hands its messages to the workers. Starts last, so that all workers are up."""

    def __init__(
        self,
        context: Context,
        client: BusClient,
        session: SessionInfo,
        ledger: Ledger,
        *,
        heard: LastHeard,
        drift: Callable[[], float] = drift,
    ) -> None:
        """Keep the parts.

        Args:
            context: See `BaseActor`.
            client: The connection of the feed; this actor's own.
            session: Names the topic, and where its state is.
            ledger: The topic's ledger, shared with the workers, who claim in it.
            heard: When the session last heard the bus; it outlives this actor.
            drift: See the function `drift`; a jump of its result means that the machine slept.
        """
        super().__init__(context)
        # Whether the bus is reached without the remote host's connection.
        self._direct = self._linked = session.server != "relay"
        self._leading: bool | None = None  # the registry has not told yet
        self._client = client
        self._session = session
        self._ledger = ledger
        self._heard = heard
        self._status = BusStatus(self.send, ledger, heard)
        self._deliveries = Deliveries(ledger)
        self._arrivals = Arrivals(client, self._deliveries, self.send, self.busy, self._status.lost)
        self._former = FormerTopics(client, session, ledger, self._deliveries, self.send)
        self._feed: Feed | None = None
        self._feeds = 0
        self._ticket = self._caught_up = 0  # of `Feed.catch_up`, for `_drained`
        self._drift = drift
        self._last_drift = drift()

    def started(self) -> None:
        """Have the registry and the remote host report the lease and the connection.

        By `send`, not by `ask`: the supervisor starts one actor at a time, so one that is down could only come up, and
        answer, after this method has returned.
        """
        self.watch(_LOOK, self._look_at_clock)
        self._status.report()  # the incarnation before may have reported the bus as up
        self.send("session_registry", ReportState(self.context.id))
        self.send("remote_host", ReportState(self.context.id))

    def handle(self, message: object) -> object:  # noqa: C901, PLR0912 - one case a message, one or two lines each
        """Take messages of the bus, and news of the feed, the lease, the connection and the workers."""
        match message:
            case Arrived(feed, messages, replayed, topic):
                if feed == self._feeds:  # those of an ended feed come again, by the next feed
                    self.busy(_TAKE * len(messages))
                    try:
                        self._arrivals.take(messages, replayed=replayed, topic=topic)
                    except TextUnavailableError as unread:
                        self._start_over(unread)
            case Found(messages):
                self._former.keep_found(messages)
            case SessionFileWritten():
                self._former.unnamed()
            case FeedNews(feed, news):
                if feed == self._feeds:
                    self._take_news(news)
            case Done(message_id):
                self._deliveries.done(message_id)
            case Postponed(message_id):
                self._deliveries.postpone(message_id)
            case Redeliver(worker):
                if (failed := self._deliveries.restarted(worker)) is not None:
                    self._arrivals.tell_end(failed, "msg-failed")
            case ReportLoss(text):
                self._status.lost(text)
            case LeaseChanged(held):
                self._lead(held=held)
            case LinkUp():
                self._linked = True
                if self._feed is not None and not self._status.up and not self._direct:
                    self._feed.nudge()  # it retries at once instead of waiting out its backoff
                self._follow()
            case ReportState():
                self._status.report()
            case Retry():
                self._follow()
            case ClockJumped():
                self._wake()
            case IsDrained():
                return self._drained()
        for delivery in self._deliveries.due():
            self.send(delivery.to, delivery)
        self._former.forget_drained()
        return None

    def stopped(self) -> None:
        """End the feed."""
        self._unfollow()

    def _take_news(self, news: News | CursorMoved | Reach | Drained) -> None:
        match news:
            case Drained(topic):
                self._former.drained(topic)
            case CursorMoved(cursor):
                self._deliveries.moved(cursor)
            case Reach():
                self._deliveries.reached(news)
            case CaughtUp(ticket):
                self._caught_up = ticket
            case _:
                self._status.tell(news)

    def _drained(self) -> bool:
        """Return whether all messages took effect that the bus had at the first call, or another session sees to them.

        A bridge that holds the lease and whose own session is over, too, does not: what came behind its last poll is
        left to this one, which gets the lease in a moment.
        """
        if self._leading is False:
            return self._is_shared() and not self._deliveries.pending
        if self._feed is None:
            return False
        # The bus may not have sent all of them yet, so the feed polls once more.
        self._ticket = self._ticket or self._feed.catch_up()
        return self._caught_up >= self._ticket and not self._deliveries.pending

    def _is_shared(self) -> bool:
        own = self._session
        try:
            return any(one.topic == own.topic and one.pid != own.pid for one in session_records.live())
        except OSError:
            return True  # nobody can tell; the registry reports the error

    def _lead(self, *, held: bool) -> None:
        if held is not self._leading:
            self._leading = held
            self._status.lead(leads=held)
        if held:
            self._follow()
        else:
            self._unfollow()
            self._ledger.close()  # the leader writes it from now on; this session reads it again if it leads again

    def _follow(self) -> None:
        if self._feed is not None or not self._leading or not self._linked:
            return
        self._feeds += 1
        tell = functools.partial(self._tell, self._feeds)
        topic = self._session.topic
        self._ledger.follow(topic)
        drain = self._former.drain(functools.partial(self._deliver_former, self._feeds), tell, self._tell_found)
        deliver = functools.partial(self._deliver, self._feeds, drain)

        def prepare() -> None:
            if drain is not None:
                drain.first()
            if self._session.takeover:
                begin_at_now(self._client, topic, self._ledger, self._session.takeover, self._tell_found)

        memory = FeedMemory(self._ledger, tell)
        feed = Feed(self._client, topic, memory, deliver, tell, prepare=prepare, heard=self._heard)
        self._feed = feed
        self.spawn_reader(feed.run, "feed", close=feed.stop)
        if drain is not None:
            self.spawn_reader(drain.run, "drain", close=drain.stop)

    def _unfollow(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()
            self._former.stop()
            self._client.close()
        self._feeds += 1
        self._ticket = self._caught_up = 0
        self._deliveries.reset()
        self._status.ended()

    # --- On the feed's thread -----------------------------------------------------------------------------------------

    def _deliver(self, feed: int, drain: Drain | None, messages: list[Message], replayed: bool) -> None:  # noqa: FBT001 - the feed's signature
        if drain is not None:
            drain.catch_up()
        if not self.post(Arrived(feed, tuple(messages), replayed)):
            raise _ActorStoppedError

    def _deliver_former(self, feed: int, topic: str, messages: list[Message]) -> None:
        if not self.post(Arrived(feed, tuple(messages), replayed=True, topic=topic)):
            raise _ActorStoppedError

    def _tell(self, feed: int, news: News | CursorMoved | Reach | Drained) -> None:
        self.post(FeedNews(feed, news))

    def _tell_found(self, messages: list[Message]) -> None:
        self.post(Found(tuple(messages)))

    # --- On the actor's thread ----------------------------------------------------------------------------------------

    def _start_over(self, unread: TextUnavailableError) -> None:
        """End the feed; a new one, after a pause, brings the message without a text and all after it once more."""
        error = unread.error
        self.send("log_writer", Log("fetch-failed", {"id": unread.message_id, "err": str(error)}))
        self._unfollow()
        self.after(max(_FETCH_PAUSE, error.retry_after or 0.0), Retry())

    def _look_at_clock(self) -> ClockJumped | None:
        """Return a message if wall time has jumped against monotonic time, which stands still while a machine sleeps.

        Runs on the timers' thread.
        """
        drift = self._drift()
        jump, self._last_drift = drift - self._last_drift, drift
        return ClockJumped() if abs(jump) > _JUMP else None

    def _wake(self) -> None:
        """Replace all connections: those from before the machine slept may be dead."""
        self.watch(_LOOK, self._look_at_clock)
        self.send("remote_host", NetworkChanged())
        if self._feed is not None:
            self._feed.nudge()


class _ActorStoppedError(Exception):
    """The actor has stopped, so its feed must end."""
