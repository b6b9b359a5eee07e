"""The stream: follows the topic while this session holds the lease, and hands each message to who acts on it."""

from __future__ import annotations

import functools
import time
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from actors.bus_news import BusNews
from actors.lines import ATTEMPTS, Line
from actors.messages import (
    Arrived,
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
    Tick,
    Work,
)
from actors.supervision._actor import BaseActor
from nssh.base.errors import BusError
from nssh.bus.feed import CaughtUp, Feed
from nssh.bus.intake import Intake
from nssh.bus.losses import file_text
from nssh.bus.replay import Item, Verdict, judge
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._incarnation import Context
    from nssh.bus.client import BusClient
    from nssh.bus.feed import Down, Up
    from nssh.bus.ledger import Ledger
    from nssh.bus.losses import Lost
    from nssh.bus.messages import Message

# Seconds between two looks at the clock, and by how much it must have jumped to mean that the machine slept.
_LOOK = 3.0
_JUMP = 10.0
# Seconds that reading one message of a backlog may take: a hundred times what it takes where nothing else is done.
_TAKE = 0.01
# Seconds that fetching a text may take that the server made a file of.
_FETCH = 60.0
# How often such a text is asked for when the bus fails, and seconds between two attempts.
_FETCHES = 5
_FETCH_PAUSE = 2.0

# Characters; who makes up longer ids than ours of 16 and UUIDs is up to something.
_LONGEST_ID = 256

_ACTORS: dict[str, str] = {
    wire.KIND_OPEN: "url_opener",
    wire.KIND_CLIP_WRITE: "clipboard",
    wire.KIND_CLIP_READ_REQUEST: "clipboard",
    wire.KIND_PING: "liveness_responder",
}


def drift() -> float:
    """Return how far wall time is ahead of monotonic time, seconds; it grows while the machine sleeps."""
    return time.time() - time.monotonic()


class _Flight(NamedTuple):
    """A message that is with somebody who acts, or on its way there."""

    to: str
    key: str


class Subscriber(BaseActor):
    """Owns the feed of the topic and knows what is in flight; starts last, when all who act are up."""

    silent: ClassVar[frozenset[str]] = frozenset({wire.KIND_PONG, wire.KIND_CLIP_READ_RESPONSE})
    """Kinds that are not for us: our own answers, come back around the bus."""

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
        self._intake: Intake | None = None
        self._feed: Feed | None = None
        self._feeds = 0
        self._ticket = self._caught_up = 0  # of the feed, when the session is over
        self._lines: dict[str, Line] = {to: Line() for to in _ACTORS.values()}
        self._flights: dict[str, _Flight] = {}
        self._keys: set[str] = set()
        self._fetches: Counter[str] = Counter()
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
                    self._take(messages, replayed=replayed)
            case Done(message_id):
                self._finish(message_id)
            case Postponed(message_id):
                if (flight := self._flights.get(message_id)) is not None:
                    self._give(flight.to, self._lines[flight.to].postpone(message_id))
            case FeedNews(feed, news):
                if feed == self._feeds:
                    self._hear(news)
            case Loss(text):
                self._news.lost(text)
            case LeaseChanged(held):
                self._lead(held=held)
            case LinkUp():
                self._linked = True
                if self._feed is not None and not self._news.up and not self._direct:
                    self._feed.nudge()  # no need to sit out the backoff
                self._follow()
            case Redeliver(to):
                self._redeliver(to)
            case Report():
                self._news.report()
            case Retry():
                self._follow()
            case Tick():
                self._wake()
            case Drain():
                return self._drained()
        return None

    def stopped(self) -> None:
        """End the feed."""
        self._unfollow()

    def _hear(self, news: Up | Down | Lost | CaughtUp) -> None:
        if isinstance(news, CaughtUp):
            self._caught_up = news.ticket
        else:
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
        return not any(self._lines.values())

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
        intake = self._intake = Intake(self._ledger)
        feed = self._feed = Feed(
            self._client,
            self._topic,
            intake,
            functools.partial(self._deliver, self._feeds, intake),
            functools.partial(self._notify, self._feeds),
        )
        self.spawn_reader(feed.run, "feed", close=feed.stop)

    def _unfollow(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()
            self._client.close()
        self._feeds += 1
        self._ticket = self._caught_up = 0
        self._intake = None
        self._lines = {to: Line() for to in self._lines}
        self._flights.clear()
        self._keys.clear()
        self._news.ended()

    # On the feed's thread.

    def _deliver(self, feed: int, intake: Intake, messages: list[Message], replayed: bool) -> None:  # noqa: FBT001 - the feed's signature
        for message in messages:
            intake.begin(message.id)
        if not self.post(Arrived(feed, tuple(messages), replayed)):
            raise _OverError

    def _notify(self, feed: int, news: Up | Down | Lost | CaughtUp) -> None:
        self.post(FeedNews(feed, news))

    # On the actor's own.

    def _take(self, messages: tuple[Message, ...], *, replayed: bool) -> None:
        wanted: list[tuple[Message, wire.Envelope]] = []
        self.busy(_TAKE * len(messages))
        for message in messages:
            try:
                envelope = self._read(message)
            except BusError as error:
                # What follows it must not overtake it.
                self._start_over(message, error)
                return
            if envelope is not None and self._is_wanted(message, envelope):
                wanted.append((message, envelope))
        verdicts = [Verdict.APPLY] * len(wanted)
        if replayed:
            items = [Item(envelope.kind, message.time) for message, envelope in wanted]
            verdicts = judge(items, self._client.server_time)
        for (message, envelope), verdict in zip(wanted, verdicts, strict=True):
            self._hand_on(message, envelope, verdict)

    def _read(self, message: Message) -> wire.Envelope | None:
        """Return the envelope of a message, None if it is none.

        Raises:
            BusError: The server has its text in a file, which can't be had at the moment.
        """
        if message.attachment is not None:
            self.busy(_FETCH)
        try:
            envelope = wire.decode(self._client.full_text(message))
            if len(envelope.id) <= _LONGEST_ID:
                return envelope
        except BusError as error:
            self._fetches[message.id] += 1
            if error.retryable and self._fetches[message.id] < _FETCHES:
                raise
            if error.kind == "gone":
                self.send("log_writer", Log("file-lost", {"id": message.id}))
                self._news.lost(file_text(message.time))
                self._finish(message.id)
                return None
        except wire.EnvelopeError:
            pass
        self.send("log_writer", Log("msg-unknown", {"size": len(message.text)}))
        self._finish(message.id)
        return None

    def _start_over(self, message: Message, error: BusError) -> None:
        """Let a new feed bring a message, and all after it, once more."""
        self.send("log_writer", Log("fetch-failed", {"id": message.id, "err": str(error)}))
        self._unfollow()
        self.after(max(_FETCH_PAUSE, error.retry_after or 0.0), Retry())

    def _is_wanted(self, message: Message, envelope: wire.Envelope) -> bool:
        """Whether somebody acts on a message, and it is no repetition."""
        if envelope.kind in self.silent:
            self._finish(message.id)
            return False
        size = message.attachment.size if message.attachment is not None else len(envelope.body)
        fields: dict[str, object] = {"kind": envelope.kind, "mime": envelope.mime, "id": message.id, "size": size}
        if envelope.url:
            fields["url"] = wire.redact(envelope.url)
        self.send("log_writer", Log("msg-recv", fields))
        to = _ACTORS.get(envelope.kind)
        key = _key(message, envelope)
        if to is None or key in self._keys or self._ledger.seen(key):
            self._finish(message.id)
            return False
        self._flights[message.id] = _Flight(to, key)
        self._keys.add(key)
        return True

    def _hand_on(self, message: Message, envelope: wire.Envelope, verdict: Verdict) -> None:
        if verdict in {Verdict.EXPIRED, Verdict.SUPERSEDED}:
            self.send("log_writer", Log(verdict.value, {"kind": envelope.kind, "id": message.id}))
            self._finish(message.id)
            return
        if self._ledger.seen(_last(message.id)):
            self._fail(message.id, envelope)
            return
        to, key = self._flights[message.id]
        work = Work(message.id, envelope, message.attachment, message.time, key, held=verdict is Verdict.HELD)
        self._give(to, self._lines[to].add(work))

    def _give(self, to: str, work: Work | None) -> None:
        if work is None:
            return
        if work.attempt >= ATTEMPTS:
            # For a bridge after this one, too: a message that wedges its actor twice ends the process.
            self._ledger.claim(_last(work.id))
        self.send(to, work)

    def _finish(self, message_id: str) -> None:
        """A message took effect, or never will."""
        flight = self._flights.pop(message_id, None)
        if flight is not None:
            self._keys.discard(flight.key)
            if self._leading:
                self._ledger.claim(flight.key)
        if self._intake is not None:
            self._intake.done(message_id)
        elif self._leading:
            self._ledger.claim(message_id)
        self._fetches.pop(message_id, None)
        if flight is not None:
            self._give(flight.to, self._lines[flight.to].done(message_id))

    def _fail(self, message_id: str, envelope: wire.Envelope) -> None:
        self.send("log_writer", Log("msg-failed", {"kind": envelope.kind, "id": message_id}))
        self._finish(message_id)

    def _redeliver(self, to: str) -> None:
        """Give an actor that crashed what it was at, and let go of what it crashed on twice."""
        work, failed = self._lines[to].again()
        if failed is not None:
            self._fail(failed.id, failed.envelope)
        self._give(to, work)

    def _look_at_clock(self) -> Tick | None:
        """Wall time runs on while a machine sleeps, monotonic time does not: a difference means that it woke.

        On the timers' thread.
        """
        drift = self._drift()
        jump, self._last_drift = drift - self._last_drift, drift
        return Tick() if abs(jump) > _JUMP else None

    def _wake(self) -> None:
        """Trust no connection that was there before the machine slept."""
        self.watch(_LOOK, self._look_at_clock)
        self.send("remote_host", NetworkChanged())
        if self._feed is not None:
            self._feed.nudge()


class _OverError(Exception):
    """The life that a feed belongs to is over."""


def _key(message: Message, envelope: wire.Envelope) -> str:
    """What a message is claimed by: a shim that got no answer publishes again, under the same id of its own."""
    if envelope.id and envelope.kind in {wire.KIND_OPEN, wire.KIND_CLIP_WRITE}:
        return f"{envelope.kind}:{envelope.id}"
    return message.id


def _last(message_id: str) -> str:
    """What is claimed when a message is given for the last time."""
    return f"last:{message_id}"
