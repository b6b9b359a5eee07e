"""Follow a topic: every message once, across reconnects, crashes and sleep (docs/ntfy.md, "The seam")."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.base.errors import BusError
from nssh.bus import backoff
from nssh.bus.feed_threads import Poll, StreamReader
from nssh.bus.losses import Continuity, Lost, Reason, expired, reach_after
from nssh.bus.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision import Attempts
    from nssh.bus.client import BusClient
    from nssh.bus.deliveries import FeedMemory
    from nssh.bus.ledger import Ledger
    from nssh.bus.messages import Backlog, Message

OPEN_SECONDS: Final = 30.0
"""Within which a stream's open event has to come; a stream that sends other bytes is given up after this time."""
STEADY_SECONDS: Final = 10.0
"""A stream that lived this long resets the backoff."""


class Up(NamedTuple):
    """The stream is open, and a poll has fetched what was missed."""

    reconnect: bool
    """False the first time."""
    gap: float
    """Seconds, sleep included, since the last event of the stream before; 0 the first time."""
    since: str | None
    """The cursor that the poll asked from; None on a fresh topic."""
    replayed: int
    """The number of missed messages that the poll returned."""


class Down(NamedTuple):
    """An outage began; told once, and once more if the credentials turn out to be refused."""

    error: BusError


class CaughtUp(NamedTuple):
    """Everything is delivered that the server had accepted when `Feed.catch_up` was called."""

    ticket: int
    """The number that `catch_up` returned; lower numbers are answered by it, too."""


News = Up | Down | Lost | CaughtUp


def uptime() -> float:
    """Return seconds of a clock that never jumps and, where the system has one, goes on while the machine sleeps."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Feed:
    """Follows one topic and hands over every message once, in order, filtered by id.

    On a busy ntfy, a stream opened with `since` loses and repeats messages, and an id seen live may not be stored yet
    (docs/ntfy.md, traps 1 to 4). So the stream is opened without `since`, and polls fetch what was missed, from a
    cursor that only polls move. The relay has none of these traps, and is followed in the same way.

    `run` calls `deliver` and `notify` on its caller's thread. Any thread may call `stop`, `nudge` and `catch_up`.
    """

    def __init__(
        self,
        client: BusClient,
        topic: str,
        memory: Ledger | FeedMemory,
        deliver: Callable[[list[Message], bool], None],
        notify: Callable[[News], None],
        *,
        clock: Callable[[], float] = uptime,
        attempts: Attempts | None = None,
    ) -> None:
        """Keep the parts; nothing is opened.

        Args:
            client: May be shared with a publisher.
            topic: The topic.
            memory: What was handed over, and where to go on; of this topic, whose lease is held. With a `FeedMemory` a
                message counts as handled when it is done, with a bare `Ledger` when `deliver` returns.
            deliver: Called with messages in order, and with whether a poll brought them: then they may be old, and
                nssh.bus.replay decides about them. It may block, as the stream is read meanwhile. Its exception ends
                `run`, and the messages are delivered again.
            notify: Called with Up and Down, with Lost when messages are gone that nobody fetched in time, and with
                CaughtUp after `catch_up`.
            clock: Returns seconds that never jump; see `uptime`.
            attempts: Tells how long to wait between two streams.
        """
        self._client = client
        self._topic = topic
        self._memory = memory
        self._deliver = deliver
        self._notify = notify
        self._clock = clock
        self._attempts = attempts or backoff.attempts()
        self._poll_attempts = backoff.attempts()
        self._changed = threading.Condition()
        self._reader: StreamReader | None = None
        self._stopped = False
        self._nudged = False
        self._tickets = self._answered = 0  # of `catch_up`: handed out, done
        self._down_kinds: set[str] = set()
        self._was_up = False
        self._announced = False
        self._silent_since = 0.0

    def run(self) -> None:
        """Follow the topic until `stop` is called; a call of `deliver` under way is finished.

        Raises:
            Exception: What `deliver` or `notify` raised, or a defect. After errors of the bus it tries again.
        """
        while not self._stopped:
            error = self._live_once()
            if error is not None:
                self._report_down(error)
            with self._changed:
                self._changed.wait_for(lambda: self._nudged, backoff.delay(self._attempts, error) if error else 0.0)

    def stop(self) -> None:
        """Make `run` return; it may not be run again."""
        self._interrupt(stop=True)

    def nudge(self) -> None:
        """Drop all connections and reconnect at once, as when the laptop woke or its network changed."""
        self._interrupt(stop=False)

    def catch_up(self) -> int:
        """Poll for what the server has accepted by now; return the ticket of the `CaughtUp` that tells the end.

        Even while the stream is live, accepted messages may not have come along it yet.
        """
        with self._changed:
            self._tickets += 1
            self._changed.notify_all()
            return self._tickets

    def _interrupt(self, *, stop: bool) -> None:
        with self._changed:
            self._nudged = True
            self._stopped = self._stopped or stop
            reader = self._reader
            if not stop:
                self._client.close()  # while the lock is held, so that it does not hit the polls of the next stream
            self._changed.notify_all()
        if reader is not None:
            reader.close()

    def _live_once(self) -> BusError | None:
        """Follow one stream to its end; return why it ended, None if it was interrupted."""
        with self._changed:
            if self._stopped:
                return None
            self._nudged = False  # before any connection is made that a nudge has to drop
            self._announced = False
        reader = StreamReader(self._client.stream(self._topic), self._changed, self._clock)
        with self._changed:
            self._reader = reader
        reader.start()
        # For the first poll, which waits for the stream's opening: the connection need not.
        threading.Thread(target=self._client.connect_ahead, name="nssh-bus-connect", daemon=True).start()
        try:
            with self._changed:
                known = self._changed.wait_for(lambda: reader.opened or reader.ended or self._nudged, OPEN_SECONDS)
            if reader.opened:
                self._follow(reader)
        finally:
            reader.close()
        if self._nudged:
            return None
        if not known:
            return BusError(f"{self._client.where} accepts the subscription and does not begin it", "server")
        if reader.error is not None and not isinstance(reader.error, BusError):
            raise reader.error
        return reader.error or BusError(f"{self._client.where} ended the stream", "unreachable")

    def _follow(self, reader: StreamReader) -> None:
        """Hand over what an open stream and its polls bring, until the stream ends or is interrupted."""
        opened = self._clock()
        cursor, reach = self._memory.cursor, self._memory.reach
        continuity = Continuity(self._memory.anchor, cursor, reach, self._client.server_time)
        life = _Life(Schedule(opened), cursor, continuity)
        schedule = life.schedule
        while True:
            now = self._clock()
            if life.poll is None and schedule.due() <= now:
                # A fresh topic has no cursor, and asks for everything: its name is random, so everything is ours.
                since = continuity.since if continuity.pending else self._memory.cursor
                life.poll = Poll(self._client, self._topic, since, self._changed)
                life.ticket = life.polled_for = self._tickets
                life.poll_started, life.poll_server_time = now, self._client.server_time
                life.poll.start()
            elif life.poll is not None and life.poll.done:
                self._take_poll(life)
            # Live messages wait for the end of the first poll, so that the order is kept.
            if life.caught_up and (live := reader.take()):
                self._hand_over(live, replayed=False)
                schedule.live(self._clock())
            with self._changed:
                self._changed.wait_for(
                    lambda: self._nudged or reader.ended or life.has_work(reader) or life.ticket != self._tickets,
                    self._pause(life),
                )
                if reader.overflowed or life.ticket != self._tickets:
                    reader.overflowed, life.ticket = False, self._tickets
                    schedule.at_once(self._clock())
                if self._nudged or (reader.ended and not (life.caught_up and reader.pending)):
                    break
        self._silent_since = reader.heard
        if self._clock() - opened >= STEADY_SECONDS:
            self._attempts.reset()

    def _pause(self, life: _Life) -> float | None:
        return None if life.poll is not None else max(0.0, life.schedule.due() - self._clock())

    def _take_poll(self, life: _Life) -> None:
        """Hand over what a poll returned, move the cursor, and notify."""
        poll, life.poll = life.poll, None
        life.caught_up = True
        if poll is None or poll.backlog is None:
            error = poll.error if poll is not None else None
            if not isinstance(error, BusError):
                raise error or RuntimeError("a poll ended without a result")
            if self._nudged:
                return  # the poll was dropped by `nudge`, which is no outage
            self._report_down(error)
            life.schedule.failed(self._clock() + backoff.delay(self._poll_attempts, error))
            return
        backlog = poll.backlog
        count = self._hand_over(backlog, replayed=True)
        life.replayed += count
        for message in backlog[-2:]:  # the cursor, and where it was before
            self._memory.set_cursor(message.id)
        life.schedule.polled(life.poll_started)
        lost = self._losses(life, backlog)
        if not backlog.complete and count:
            life.schedule.at_once(self._clock())
            return
        forgotten = any(one.reason is Reason.FORGOTTEN for one in lost)
        self._memory.set_reach(reach_after(self._memory.reach, life.poll_server_time, backlog, forgotten=forgotten))
        self._poll_attempts.reset()
        self._report_up(life)
        if life.polled_for > self._answered:
            self._answered = life.polled_for
            self._notify(CaughtUp(self._answered))

    def _losses(self, life: _Life, backlog: Backlog) -> list[Lost]:
        """Find out what is lost that a poll should have returned, and notify."""
        found: list[Lost | None] = []
        reach, now = self._memory.reach, life.poll_server_time
        if not life.looked and now is not None:
            life.looked = True
            found.append(expired(reach, now))
        if backlog.truncated and backlog:
            life.continuity.give_up()
            found.append(Lost(Reason.TRUNCATED, reach.until, backlog[0].time))
        elif life.continuity.pending:
            found.append(life.continuity.took({message.id for message in backlog}))
            if life.continuity.pending:
                life.schedule.at_once(self._clock())
        lost = [one for one in found if one is not None]
        for one in lost:
            self._notify(one)
        return lost

    def _hand_over(self, messages: list[Message], *, replayed: bool) -> int:
        """Deliver the messages that were not handled yet; return their number."""
        fresh = {message.id: message for message in messages if not self._memory.seen(message.id)}
        if fresh:
            self._deliver(list(fresh.values()), replayed)
            for message_id in fresh:
                self._memory.claim(message_id)
        return len(fresh)

    def _report_down(self, error: BusError) -> None:
        if not self._down_kinds or (error.kind == "auth" and "auth" not in self._down_kinds):
            self._notify(Down(error))
        if self._announced:
            # The stream is open, but a poll failed: messages may be missing.
            self._silent_since = self._clock()
            self._announced = False
        self._down_kinds.add(error.kind)

    def _report_up(self, life: _Life) -> None:
        if not self._announced:
            gap = max(0.0, self._clock() - self._silent_since) if self._was_up else 0.0
            self._notify(Up(self._was_up, gap, life.since, life.replayed))
            self._announced = True
            self._was_up = True
            self._down_kinds.clear()
        life.replayed = 0


class _Life:
    """The state of the feed while one stream lives."""

    def __init__(self, schedule: Schedule, since: str | None, continuity: Continuity) -> None:
        self.schedule = schedule
        self.since = since
        self.continuity = continuity
        self.looked = False
        """Whether expired messages were looked for, which is done once."""
        self.replayed = 0
        self.caught_up = False
        self.poll: Poll | None = None
        self.poll_started = 0.0
        self.poll_server_time: float | None = None
        self.ticket = 0
        """The newest ticket for which a poll was scheduled."""
        self.polled_for = 0
        """The newest ticket when the poll began."""

    def has_work(self, reader: StreamReader) -> bool:
        return reader.overflowed or (self.caught_up and reader.pending) or (self.poll is not None and self.poll.done)
