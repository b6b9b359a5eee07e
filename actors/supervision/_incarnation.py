"""One life of one child: the thread it runs on, how far it got, and why it ended.

A child is restarted as a new incarnation with the next generation number. Everything an actor reports, it reports to
its own incarnation; a thread that was given up for lost and comes back later finds only its own, abandoned incarnation
to talk to, so nothing it does can be mistaken for its successor's doing.
"""

from __future__ import annotations

import enum
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from actors.supervision.debug import describe, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision._directory import Directory, Reply
    from actors.supervision._timers import Clock, Timers


class AbandonedError(BaseException):
    """Raised in an actor that was abandoned, when it next touches the tree; it unwinds the actor and ends its thread.

    A BaseException, as `asyncio.CancelledError` is, so that `except Exception` in a handler keeps no ghost going.
    """


class WedgedError(Exception):
    """An actor did not come back: from its constructor, from `started()`, from a message, or from `stopped()`."""


class Phase(enum.IntEnum):
    """How far a life got; it only ever goes up."""

    STARTING = 1  # from the constructor to the end of `started()`
    RUNNING = 2
    LEAVING = 3  # it takes no more messages; `stopped()` is due or running
    ENDED = 4  # its thread will not touch anything any more


class Work(NamedTuple):
    """What an actor is busy with."""

    serial: int  # tells one message from the next of the same type
    what: str  # the type of the message, never its content
    since: float
    deadline: float  # when it counts as wedged; infinite for an actor that is not checked
    declared: bool = False  # it said itself that this may take long


class Incarnation:
    """The record of one life, shared by the actor's thread, which reports, and the supervisor, which waits.

    Attributes:
        phase, error, trace, up_at, leaving_at: Written under `changed`, read anywhere. `error` is the first one only.
        work: What it is busy with, or None; written by its own thread alone.
        abandoned: Set once, under the lock of the directory, so that no message passes after it.
        reply: What the asker of the message in hand waits for, if it was asked.
    """

    def __init__(
        self, child_id: str, generation: int, *, health: float | None, changed: threading.Condition, clock: Clock
    ) -> None:
        self.id = child_id
        self.generation = generation
        self.phase = Phase.STARTING
        self.error: BaseException | None = None
        self.trace = ""
        self.up_at: float | None = None
        self.leaving_at: float | None = None
        self.abandoned = False
        self.stop_requested = False
        self.hurried = False
        self.work: Work | None = None
        self.reply: Reply | None = None
        self.ref: pykka.ActorRef[Any] | None = None
        self.thread: threading.Thread | None = None
        self._health = math.inf if health is None else health
        self._changed = changed
        self._clock = clock
        self._serial = 0
        self._body: Callable[[], None] | None = None
        self._on_busy: Callable[[float], None] = lambda _deadline: None

    # --- The life itself, on a thread of its own ----------------------------------------------------------------------

    def launch(self, start: Callable[[], object], on_busy: Callable[[float], None]) -> None:
        """Begin this life on a new thread. `on_busy(deadline)` is called there whenever a message is taken up."""
        self._on_busy = on_busy
        self.thread = threading.Thread(target=self._live, args=(start,), name=self.name, daemon=True)
        self.thread.start()

    @property
    def name(self) -> str:
        """Its id and generation, as threads and log lines show it."""
        return f"{self.id}#{self.generation}"

    def adopt(self, ref: pykka.ActorRef[Any], body: Callable[[], None]) -> None:
        """Take in the actor that `start` has constructed; `body` is its whole life.

        pykka would run it on another thread; this way the constructor, the messages and the end share one, and what a
        constructor makes (an SQLite connection) may be used later.

        Raises:
            AbandonedError: If it took so long that it was given up.
            RuntimeError: If it is started outside a supervisor, or a second time with one context.
        """
        if threading.current_thread() is not self.thread or self.ref is not None:
            raise RuntimeError(f"{self.name}: an actor is started by its supervisor, once per context")
        if self.abandoned:
            raise AbandonedError(self.name)
        self.ref = ref
        self._body = body

    def _live(self, start: Callable[[], object]) -> None:
        # The only place where a life ends, so its end is reported once whatever happened, SystemExit included.
        try:
            start()
            if self._body is None:
                raise TypeError(f"{self.id}: start must start a BaseActor with its context")  # noqa: TRY301 - ends it, as any error
            self._body()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the supervisor wants to know
            self.leave(error)
        finally:
            self._body = None
            if self.ref is not None:  # whatever happened, pykka must not count on an actor without a thread
                pykka.ActorRegistry.unregister(self.ref)
                self.ref.actor_stopped.set()
            self._advance(Phase.ENDED)

    # --- Reports, made on that thread ---------------------------------------------------------------------------------

    def up(self) -> None:
        """`started()` has returned."""
        with self._changed:
            self.up_at = self._clock.monotonic()
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
                self.leaving_at = self._clock.monotonic()
            self._advance(Phase.LEAVING)

    def _advance(self, phase: Phase) -> None:
        with self._changed:
            self.phase = max(self.phase, phase)
            self._changed.notify_all()

    def begin(self, what: str, reply: Reply | None) -> None:
        """It takes up a message of the type `what`."""
        now = self._clock.monotonic()
        self._serial += 1
        self.reply = reply
        self._set_work(Work(self._serial, what, now, now + self._health))

    def extend(self, seconds: float) -> None:
        """The message in hand may take `seconds` from now, if that is later than what it may take anyway."""
        if self.work is not None:
            deadline = max(self.work.deadline, self._clock.monotonic() + seconds)
            self._set_work(self.work._replace(deadline=deadline, declared=True))

    def _set_work(self, work: Work) -> None:
        # The watch may be asleep until some later deadline. Write first, then tell: see HealthWatch.look.
        self.work = work
        self._on_busy(work.deadline)

    def finish(self) -> None:
        """The message in hand is done."""
        self.work = None
        self.reply = None

    # --- Requests, made by the supervisor -----------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Ask it to stop after the messages that are in its mailbox now."""
        self.stop_requested = True
        ref = self.ref
        if ref is not None:
            ref.stop(block=False)

    def hurry(self) -> None:
        """Ask it to stop after the message in hand."""
        self.hurried = True

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
        """Whether `started()` has returned, however long ago."""
        return self.up_at is not None

    def is_well(self, patience: float) -> bool:
        """Whether it takes messages, and has not been at one for `patience` seconds without having said so."""
        work = self.work  # written by its own thread
        if self.phase is not Phase.RUNNING or not self.has_thread:
            return False
        return work is None or work.declared or self._clock.monotonic() - work.since < patience

    def uptime(self, now: float) -> float:
        """Seconds since it came up, 0.0 if it never did."""
        return 0.0 if self.up_at is None else now - self.up_at


@dataclass(frozen=True)
class Context:
    """What every actor's constructor is given.

    Attributes:
        id: The child's id.
        directory: The way to all peers.
        timers: The tree's timers; an actor uses `after`, which binds them to its generation.
        clock: The tree's clock.
        incarnation: Where this life's progress is reported.
    """

    id: str
    directory: Directory
    timers: Timers
    clock: Clock
    incarnation: Incarnation

    @property
    def generation(self) -> int:
        """1 for the child's first life, one more for each further one."""
        return self.incarnation.generation

    @property
    def abandoned(self) -> bool:
        """Whether this life was given up: look before an act that can't be undone and that takes no message."""
        return self.incarnation.abandoned
