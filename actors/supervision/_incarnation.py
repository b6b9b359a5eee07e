"""One life of one child: the thread it runs on, how far it got, and why it ended.

A child is restarted as a new incarnation with the next generation number. Everything an actor reports, it reports to
its own incarnation; a thread that was given up for lost and comes back later finds only its own, abandoned incarnation
to talk to, so nothing it does can be mistaken for its successor's doing.
"""

from __future__ import annotations

import enum
import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from actors.supervision.debug import describe, trace_of

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable

    from actors.supervision._health import HealthWatch
    from actors.supervision._timers import Clock


class AbandonedError(BaseException):
    """Raised in an actor that was abandoned, when it next touches the tree; it unwinds the actor and ends its thread.

    A BaseException, as `asyncio.CancelledError` is, so that `except Exception` in a handler keeps no ghost going.
    """


class WedgedError(Exception):
    """A child did not come back: from its constructor, from its start, from a message, or from its end."""


class Phase(enum.IntEnum):
    """How far a life got; it only ever goes up."""

    STARTING = 1  # until it is up: for an actor, from the constructor to the end of `started()`
    RUNNING = 2
    LEAVING = 3  # it takes no more messages, and releases what it holds
    ENDED = 4  # its thread will not touch anything any more


class Work(NamedTuple):
    """What an actor is busy with."""

    since: float
    deadline: float  # when it counts as wedged; infinite for an actor that is not checked
    message: Any
    reply: Any = None  # what the asker waits for, if it was asked
    declared: bool = False  # it said itself that this may take long

    @property
    def what(self) -> str:
        """The type of the message, never its content."""
        return type(self.message).__name__


class Body(Protocol):
    """What lives: an actor, a process, a tree."""

    def run(self, life: Incarnation) -> None:
        """Live, on the thread of `life`: call `life.up()` when that is so; return at the end, or raise its reason."""

    def request_stop(self, patience: float) -> None:
        """End within `patience` seconds. Any thread; returns at once."""

    def abandon(self) -> None:
        """It was given up: do no more than can't be helped. Any thread; returns at once."""


class Incarnation:
    """The record of one life, shared by its thread, which reports, and the supervisor, which waits.

    Attributes:
        phase, error, trace, up_at, leaving_at: Written under `changed`, read anywhere. `error` is the first one only.
        task: What it is busy with, as the fields of `Work`, or None; written by its own thread alone.
        inbox: Where an actor's messages go; None before it is made and after it has left.
        abandoned: Set once, under the lock of the directory, so that no message passes after it.
        must_leave: Whether it takes up no more messages: it was abandoned, or its time to stop is half over.
    """

    def __init__(
        self,
        child_id: str,
        generation: int,
        *,
        health: float | None,
        changed: threading.Condition,
        clock: Clock,
        watch: HealthWatch,
    ) -> None:
        self.id = child_id
        self.generation = generation
        self.name = f"{child_id}#{generation}"
        """Its id and generation, as threads and log lines show it."""
        self.phase = Phase.STARTING
        self.error: BaseException | None = None
        self.trace = ""
        self.up_at: float | None = None
        self.leaving_at: float | None = None
        self.abandoned = False
        self.must_leave = False
        self.stop_requested = False
        self.task: tuple[float, float, Any, Any, bool] | None = None
        self.inbox: queue.SimpleQueue[Any] | None = None
        self.thread: threading.Thread | None = None
        self._body: Body | None = None
        self._health = math.inf if health is None else health
        self._changed = changed
        self._now = clock.monotonic
        self._watch = watch

    # --- The life itself, on a thread of its own ----------------------------------------------------------------------

    def launch(self, make: Callable[[], Body]) -> None:
        """Begin this life on a new thread, which makes its body and is all that the body runs on.

        Constructor, messages and end share one thread, so that what a constructor makes (an SQLite connection) may be
        used later.
        """
        self.thread = threading.Thread(target=self._live, args=(make,), name=self.name, daemon=True)
        self.thread.start()

    def _live(self, make: Callable[[], Body]) -> None:
        # The only place where a life ends, so its end is reported once whatever happened, SystemExit included.
        try:
            self._body = body = make()
            # Whoever gives it up, or stops it, either finds the body or is found here.
            if self.abandoned:
                raise AbandonedError(self.name)  # noqa: TRY301 - ends it, as any error
            if not self.stop_requested:
                body.run(self)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the supervisor wants to know
            self.leave(error)
        finally:
            self._body = None  # an actor that is over is free to be collected
            self._advance(Phase.ENDED)

    # --- Reports, made on that thread ---------------------------------------------------------------------------------

    def up(self) -> None:
        """It is up."""
        with self._changed:
            self.up_at = self._now()
            self._advance(Phase.RUNNING)

    def leave(self, error: BaseException | None = None) -> None:
        """It will take no more messages, because of `error` or because it was stopped."""
        with self._changed:
            if error is not None:
                if self.error is None:
                    self.error = error
                    # Now, because an asker that is given the same error adds its own frames to it.
                    self.trace = trace_of(error)
                elif self.error is not error:
                    self.trace += f"\nand then {describe(error)}"
            if self.leaving_at is None:
                self.leaving_at = self._now()
            self._advance(Phase.LEAVING)

    def _advance(self, phase: Phase) -> None:
        with self._changed:
            self.phase = max(self.phase, phase)
            self._changed.notify_all()

    def begin(self, message: Any, reply: Any = None) -> None:
        """It takes up a message."""
        now = self._now()
        deadline = now + self._health
        self.task = (now, deadline, message, reply, False)
        # The watch may be asleep until some later deadline. Write first, then tell: see HealthWatch.look.
        if deadline < self._watch.next_look:
            self._watch.on_busy(deadline)

    def extend(self, seconds: float) -> None:
        """The message in hand may take `seconds` from now, if that is later than what it may take anyway."""
        if self.task is not None:
            since, deadline, message, reply, _ = self.task
            deadline = max(deadline, self._now() + seconds)
            self.task = (since, deadline, message, reply, True)
            self._watch.on_busy(deadline)

    def finish(self) -> None:
        """The message in hand is done."""
        self.task = None

    @property
    def work(self) -> Work | None:
        """What it is busy with."""
        task = self.task
        return None if task is None else Work(*task)

    # --- Requests, made by the supervisor -----------------------------------------------------------------------------

    def request_stop(self, patience: float) -> None:
        """Ask it to be down in `patience` seconds: an actor may handle the messages that it has by now before."""
        self.stop_requested = True
        body = self._body
        if body is not None:
            body.request_stop(patience)

    def hurry(self) -> None:
        """Ask it to stop after the message in hand."""
        self.must_leave = True

    def abandon(self) -> None:
        """Give it up; the directory has marked it so before."""
        body = self._body
        if body is not None:
            body.abandon()

    @property
    def has_thread(self) -> bool:
        """Whether its thread exists."""
        return self.thread is not None and self.thread.is_alive()

    @property
    def over(self) -> bool:
        """Whether its thread will not do anything any more."""
        return self.phase is Phase.ENDED or self.lost

    @property
    def lost(self) -> bool:
        """Whether its thread is gone without having reported so, which nothing known can bring about."""
        return self.phase is not Phase.ENDED and self.thread is not None and not self.thread.is_alive()

    @property
    def came_up(self) -> bool:
        """Whether it ever was up, however long ago."""
        return self.up_at is not None

    def is_well(self, patience: float) -> bool:
        """Whether it is up, and has not been at one message for `patience` seconds without having said so."""
        work = self.work  # written by its own thread
        if self.phase is not Phase.RUNNING or not self.has_thread:
            return False
        return work is None or work.declared or self._now() - work.since < patience

    def uptime(self, now: float) -> float:
        """Seconds since it came up, 0.0 if it never did."""
        return 0.0 if self.up_at is None else now - self.up_at
