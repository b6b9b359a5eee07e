"""The stream: follows the topic while this session holds the lease, and hands each message to who acts on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from actors._base import BaseActor
from actors.messages import (
    Arrived,
    Done,
    Drain,
    FeedNews,
    LeaseChanged,
    Linked,
    LinkUp,
    Log,
    NetworkChanged,
    Problem,
    Redeliver,
    Tick,
    Update,
    Work,
)
from nssh.bus.feed import Down, Feed, Up
from nssh.bus.intake import Intake
from nssh.bus.replay import Item, Verdict, judge
from nssh.durations import format_gap
from nssh.errors import BusError
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from actors.incarnation import Context
    from nssh.bus.client import BusClient
    from nssh.bus.ledger import Ledger
    from nssh.bus.messages import Message

# Seconds between two looks at the clock, and by how much it must have jumped to mean that the machine slept.
_TICK = 10.0
_JUMP = 10.0
# A message that its actor crashed on is given again once; then it is what crashes, and is let go.
_ATTEMPTS = 2

_ACTORS: dict[str, str] = {
    wire.KIND_OPEN: "url_opener",
    wire.KIND_CLIP_WRITE: "clipboard",
    wire.KIND_CLIP_READ_REQUEST: "clipboard",
    wire.KIND_PING: "liveness_responder",
}


class Subscriber(BaseActor):
    """Owns the feed of the topic and knows what is in flight; starts last, when all who act are up."""

    silent: ClassVar[frozenset[str]] = frozenset({wire.KIND_PONG, wire.KIND_CLIP_READ_RESPONSE})
    """Kinds that are not for us: our own answers, come back around the bus."""

    def __init__(self, context: Context, client: BusClient, topic: str, ledger: Ledger, *, linked: bool) -> None:
        """Keep the parts.

        Args:
            context: Of this life.
            client: For the feed alone.
            topic: The topic.
            ledger: The topic's, shared with those who claim in it.
            linked: The bus is reached without the remote host's connection.
        """
        super().__init__(context)
        self._linked = linked
        self._leading = False
        self._up = False
        self._client = client
        self._topic = topic
        self._ledger = ledger
        self._intake: Intake | None = None
        self._feed: Feed | None = None
        self._work: dict[str, tuple[str, Work]] = {}
        self._wall = time.time() - time.monotonic()

    def started(self) -> None:
        """Learn from the registry whether we act."""
        self.after(_TICK, Tick())
        self._linked = self._linked or self.ask("remote_host", Linked(), 5.0)
        self._leading = self.ask("session_registry", Update({}), 5.0).role == "leader"
        self._follow()

    def handle(self, message: object) -> object:
        """Take what arrived, or news of the feed, of the lease, or of those who act."""
        match message:
            case Arrived(messages, replayed):
                self._take(messages, replayed=replayed)
            case Done(message_id):
                self._work.pop(message_id, None)
                if self._intake is not None:
                    self._intake.done(message_id)
            case FeedNews(news):
                self._tell(news)
            case LeaseChanged(held):
                self._leading = held
                if held:
                    self._follow()
                else:
                    self._unfollow()
            case LinkUp():
                self._linked = True
                if self._feed is not None and not self._up:
                    self._feed.nudge()  # no need to sit out the backoff
                self._follow()
            case Redeliver(to):
                self._redeliver(to)
            case Tick():
                self._look_at_clock()
            case Drain():
                # A session may be over before its bus is up: what it sent is still to be fetched.
                return not self._work and (self._up or not self._leading)
        return None

    def stopped(self) -> None:
        """End the feed."""
        self._unfollow()

    def _follow(self) -> None:
        if self._feed is not None or not self._leading or not self._linked:
            return
        self._ledger.load()  # whoever held the lease before us wrote there
        self._intake = Intake(self._ledger)
        self._feed = Feed(self._client, self._topic, self._intake, self._deliver, self._notify)
        self.spawn_reader(self._feed.run, "feed", close=self._feed.stop)

    def _unfollow(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()
            self._client.close()
        self._intake = None
        self._up = False
        self._work.clear()

    # On the feed's thread.

    def _deliver(self, messages: list[Message], replayed: bool) -> None:  # noqa: FBT001 - the feed's signature
        intake = self._intake
        if intake is None:
            return
        for message in messages:
            intake.begin(message.id)
        self.post(Arrived(tuple(messages), replayed))

    def _notify(self, news: Up | Down) -> None:
        self.post(FeedNews(news))

    # On the actor's own.

    def _take(self, messages: tuple[Message, ...], *, replayed: bool) -> None:
        known = [(message, self._decode(message)) for message in messages]
        wanted = [(message, envelope) for message, envelope in known if envelope is not None]
        verdicts = [Verdict.APPLY] * len(wanted)
        if replayed:
            items = [Item(envelope.kind, message.time) for message, envelope in wanted]
            verdicts = judge(items, self._client.server_time)
        for (message, envelope), verdict in zip(wanted, verdicts, strict=True):
            self._hand_on(message, envelope, verdict)

    def _decode(self, message: Message) -> wire.Envelope | None:
        """Return the envelope of a message if somebody acts on its kind and it is no repetition."""
        try:
            envelope = wire.decode(self._client.full_text(message))
        except (wire.EnvelopeError, BusError):
            self.send("log_writer", Log("msg-unknown", {"size": len(message.text)}))
            self._let_go(message.id)
            return None
        if envelope.kind in self.silent:
            self._let_go(message.id)
            return None
        size = message.attachment.size if message.attachment is not None else len(envelope.body)
        fields: dict[str, object] = {"kind": envelope.kind, "mime": envelope.mime, "id": message.id, "size": size}
        if envelope.url:
            fields["url"] = wire.redact(envelope.url)
        self.send("log_writer", Log("msg-recv", fields))
        # A shim that got no answer publishes again, under the same id of its own.
        repeated = envelope.kind in {wire.KIND_OPEN, wire.KIND_CLIP_WRITE} and envelope.id
        if envelope.kind not in _ACTORS or (repeated and not self._ledger.claim(f"{envelope.kind}:{envelope.id}")):
            self._let_go(message.id)
            return None
        return envelope

    def _hand_on(self, message: Message, envelope: wire.Envelope, verdict: Verdict) -> None:
        if verdict in {Verdict.EXPIRED, Verdict.SUPERSEDED}:
            self.send("log_writer", Log(verdict.value, {"kind": envelope.kind, "id": message.id}))
            self._let_go(message.id)
            return
        to = _ACTORS[envelope.kind]
        work = Work(message.id, envelope, message.attachment, message.time, held=verdict is Verdict.HELD)
        self._work[message.id] = (to, work)
        self.send(to, work)

    def _let_go(self, message_id: str) -> None:
        if self._intake is not None:
            self._intake.done(message_id)

    def _redeliver(self, to: str) -> None:
        """Give an actor that crashed what it was at, and let go of what it crashed on twice."""
        for message_id, (receiver, work) in list(self._work.items()):
            if receiver != to:
                continue
            if work.attempt >= _ATTEMPTS:
                self.send("log_writer", Log("msg-failed", {"kind": work.envelope.kind, "id": message_id}))
                self._work.pop(message_id)
                self._let_go(message_id)
            else:
                again = work._replace(attempt=work.attempt + 1)
                self._work[message_id] = (to, again)
                self.send(to, again)

    def _tell(self, news: Up | Down) -> None:
        self._up = isinstance(news, Up)
        if isinstance(news, Down):
            self.send("log_writer", Log("subscribe-down", {"err": str(news.error)}))
            self.send("session_registry", Update({"bus": "down"}))
            self.send("session_registry", Problem("bus", str(news.error)))
            return
        fields: dict[str, object] = {"reconnect": news.reconnect, "since": news.since or "", "replayed": news.replayed}
        if news.reconnect:
            fields["gap"] = format_gap(news.gap)
        self.send("log_writer", Log("subscribe-up", fields))
        self.send("session_registry", Update({"bus": "up"}))
        self.send("session_registry", Problem("bus", ""))

    def _look_at_clock(self) -> None:
        """Wall time runs on while a machine sleeps, monotonic time does not: a difference means that it woke."""
        self.after(_TICK, Tick())
        wall = time.time() - time.monotonic()
        jump, self._wall = wall - self._wall, wall
        if abs(jump) > _JUMP:
            self.send("remote_host", NetworkChanged())
            if self._feed is not None:
                self._feed.nudge()
