"""Follow a topic and hand over every message once, across reconnects, crashes and sleep (docs/ntfy.md, "The seam")."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from nssh.base.clock import uptime
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
"""Seconds until a stream's open event; a stream without one is given up then, also if it sends other bytes."""
STEADY_SECONDS: Final = 10.0
"""Seconds that a stream must have been open to reset the backoff."""


class Up(NamedTuple):
    """The stream is open, and a poll has fetched what was missed."""

    reconnect: bool
    """False the first time in a session."""
    gap: float
    """Seconds, sleep included, since the bus was last heard; 0 the first time."""
    since: str | None
    """The cursor that the poll asked from; None on a fresh topic."""
    replayed: int
    """The number of missed messages that the poll returned."""


class Down(NamedTuple):
    """The bus can't be reached. Told once in an outage, and once more if the server refuses the credentials."""

    error: BusError


class CaughtUp(NamedTuple):
    """All messages are delivered that the server had accepted when `Feed.catch_up` was called."""

    ticket: int
    """The number that `catch_up` returned. This also answers all calls that returned lower numbers."""


News = Up | Down | Lost | CaughtUp


class LastHeard:
    """When a session last heard the bus while it was up. Outlives feeds, so that the next one can tell the gap."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at
        """By `nssh.base.clock.uptime`; 0 if the bus was never up."""


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
        prepare: Callable[[], object] | None = None,
        heard: LastHeard | None = None,
        clock: Callable[[], float] = uptime,
        attempts: Attempts | None = None,
    ) -> None:
        """Keep the parts; nothing is opened.

        Args:
            client: May be shared with a publisher.
            topic: The topic.
            memory: The cursor, and the ids of the messages handed over; the session must hold the topic's lease. With a
                `FeedMemory` a message counts as handled when it is done, with a bare `Ledger` when `deliver` returns.
            deliver: Called with messages in order, and with whether a poll brought them: then they may be old, and
                nssh.bus.replay_policy decides about them. It may block: the stream is read on another thread. An
                exception from it ends `run`, and the messages are delivered again.
            notify: Called with Up and Down, with Lost when messages are gone that nobody fetched in time, and with
                CaughtUp after `catch_up`.
            prepare: Called before the first stream, again and again as long as it raises BusError.
            heard: The session's; what earlier feeds of the session left there tells the first gap.
            clock: Returns seconds that never jump.
            attempts: Tells how long to wait between two streams.
        """
        self._client = client
        self._topic = topic
        self._memory = memory
        self._deliver = deliver
        self._notify = notify
        self._prepare = prepare
        self._heard = LastHeard() if heard is None else heard
        self._clock = clock
        self._attempts = attempts or backoff.attempts()
        self._poll_attempts = backoff.attempts()
        self._changed = threading.Condition()
        self._reader: StreamReader | None = None
        self._stopped = False
        self._nudged = False
        self._tickets = self._answered = 0  # of `catch_up`: the last one returned, the last one answered
        self._down_kinds: set[str] = set()
        self._announced = False

    def run(self) -> None:
        """Follow the topic until `stop` is called. A call of `deliver` is never interrupted.

        Raises:
            Exception: Raised by `deliver` or `notify`, or a defect. Errors of the bus are retried, not raised.
        """
        while not self._stopped:
            error = self._live_once()
            if error is not None:
                self._report_down(error)
            with self._changed:
                self._changed.wait_for(lambda: self._nudged, backoff.delay(self._attempts, error) if error else 0.0)

    def stop(self) -> None:
        """Make `run` return. A feed can't be run again."""
        self._interrupt(stop=True)

    def nudge(self) -> None:
        """Drop all connections and reconnect at once: the laptop woke up, or its network changed."""
        self._interrupt(stop=False)

    def catch_up(self) -> int:
        """Poll for all messages that the server has accepted by now; return the ticket of the `CaughtUp` that follows.

        The live stream alone would not do: it may not have brought an accepted message yet.
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
                self._client.close()  # under the lock, so that it does not close a connection of the next stream
            self._changed.notify_all()
        if reader is not None:
            reader.close()

    def _live_once(self) -> BusError | None:
        """Follow one stream to its end; return the reason, None if `stop` or `nudge` interrupted it."""
        with self._changed:
            if self._stopped:
                return None
            self._nudged = False  # before a connection is made: a later nudge must drop it
            self._announced = False
        if self._prepare is not None:
            try:
                self._prepare()
            except BusError as error:
                return None if self._nudged else error
            self._prepare = None
        reader = StreamReader(self._client.stream(self._topic), self._changed, self._hear)
        with self._changed:
            self._reader = reader
        reader.start()
        # The first poll waits until the stream is open; its connection can be made meanwhile.
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
        """Hand over the messages of an open stream and of its polls, until the stream ends or is interrupted."""
        opened = self._clock()
        cursor, reach = self._memory.cursor, self._memory.reach
        continuity = Continuity(self._memory.anchor, cursor, reach, self._client.server_time)
        state = _StreamState(Schedule(opened), cursor, continuity)
        schedule = state.schedule
        while True:
            now = self._clock()
            if state.poll is None and schedule.due() <= now:
                # A fresh topic has no cursor, so the poll asks for everything: nobody else knows the random name.
                since = continuity.since if continuity.pending else self._memory.cursor
                state.poll = Poll(self._client, self._topic, since, self._changed)
                state.ticket = state.polled_for = self._tickets
                state.poll_started, state.poll_server_time = now, self._client.server_time
                state.poll.start()
            elif state.poll is not None and state.poll.done:
                self._take_poll(state)
            # Live messages wait until the first poll has returned the older ones.
            if state.caught_up and (live := reader.take()):
                self._hand_over(live, replayed=False)
                schedule.live(self._clock())
            with self._changed:
                self._changed.wait_for(
                    lambda: self._nudged or reader.ended or state.has_work(reader) or state.ticket != self._tickets,
                    self._pause(state),
                )
                if reader.overflowed or state.ticket != self._tickets:
                    reader.overflowed, state.ticket = False, self._tickets
                    schedule.at_once(self._clock())
                if self._nudged or (reader.ended and not (state.caught_up and reader.pending)):
                    break
        if self._clock() - opened >= STEADY_SECONDS:
            self._attempts.reset()

    def _pause(self, state: _StreamState) -> float | None:
        return None if state.poll is not None else max(0.0, state.schedule.due() - self._clock())

    def _take_poll(self, state: _StreamState) -> None:
        """Hand over what a poll returned, move the cursor, and notify."""
        poll, state.poll = state.poll, None
        state.caught_up = True
        if poll is None or poll.backlog is None:
            error = poll.error if poll is not None else None
            if not isinstance(error, BusError):
                raise error or RuntimeError("a poll ended without a result")
            if self._nudged:
                return  # `nudge` closed the poll's connection: no outage
            self._report_down(error)
            state.schedule.failed(self._clock() + backoff.delay(self._poll_attempts, error))
            return
        backlog = poll.backlog
        count = self._hand_over(backlog, replayed=True)
        state.replayed += count
        for message in backlog[-2:]:  # the new cursor, and the message before it as its anchor
            self._memory.set_cursor(message.id)
        state.schedule.polled(state.poll_started)
        lost = self._losses(state, backlog)
        if not backlog.complete and count:
            state.schedule.at_once(self._clock())
            return
        forgotten = any(one.reason is Reason.FORGOTTEN for one in lost)
        self._memory.set_reach(reach_after(self._memory.reach, state.poll_server_time, backlog, forgotten=forgotten))
        self._poll_attempts.reset()
        self._report_up(state)
        if state.polled_for > self._answered:
            self._answered = state.polled_for
            self._notify(CaughtUp(self._answered))

    def _losses(self, state: _StreamState, backlog: Backlog) -> list[Lost]:
        """Find the losses that a poll shows, and notify."""
        found: list[Lost | None] = []
        reach, now = self._memory.reach, state.poll_server_time
        if not state.checked_expiry and now is not None:
            state.checked_expiry = True
            found.append(expired(reach, now))
        if backlog.truncated and backlog:
            state.continuity.give_up()
            found.append(Lost(Reason.TRUNCATED, reach.until, backlog[0].time))
        elif state.continuity.pending:
            found.append(state.continuity.took({message.id for message in backlog}))
            if state.continuity.pending:
                state.schedule.at_once(self._clock())
        lost = [one for one in found if one is not None]
        for one in lost:
            self._notify(one)
        return lost

    def _hand_over(self, messages: list[Message], *, replayed: bool) -> int:
        """Deliver those messages that were not handed over before; return their number."""
        fresh = {message.id: message for message in messages if not self._memory.seen(message.id)}
        if fresh:
            self._deliver(list(fresh.values()), replayed)
            for message_id in fresh:
                self._memory.claim(message_id)
        return len(fresh)

    def _hear(self) -> None:
        """Note that the bus was heard; while it is not up, that counts for nothing."""
        if self._announced:
            self._heard.at = self._clock()

    def _report_down(self, error: BusError) -> None:
        if not self._down_kinds or (error.kind == "auth" and "auth" not in self._down_kinds):
            self._notify(Down(error))
        if self._announced:
            # The stream is open, but a poll failed: messages may be missing.
            self._hear()
            self._announced = False
        self._down_kinds.add(error.kind)

    def _report_up(self, state: _StreamState) -> None:
        if not self._announced:
            last = self._heard.at
            gap = max(0.0, self._clock() - last) if last else 0.0
            self._notify(Up(bool(last), gap, state.since, state.replayed))
            self._announced = True
            self._hear()
            self._down_kinds.clear()
        state.replayed = 0


class _StreamState:
    """What the feed knows about one stream and its polls."""

    def __init__(self, schedule: Schedule, since: str | None, continuity: Continuity) -> None:
        self.schedule = schedule
        self.since = since
        self.continuity = continuity
        self.checked_expiry = False
        """Whether messages that expired before this stream were looked for: once for each stream."""
        self.replayed = 0
        self.caught_up = False
        self.poll: Poll | None = None
        self.poll_started = 0.0
        self.poll_server_time: float | None = None
        self.ticket = 0
        """The newest `catch_up` for which a poll is scheduled."""
        self.polled_for = 0
        """The newest `catch_up` when the poll began."""

    def has_work(self, reader: StreamReader) -> bool:
        return reader.overflowed or (self.caught_up and reader.pending) or (self.poll is not None and self.poll.done)
