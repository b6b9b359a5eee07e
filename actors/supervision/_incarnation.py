"""One incarnation of a child: the thread it runs on, how far it got, and why it ended.

Each start of a child makes a new incarnation, with the next generation number. An actor reports everything to its own
incarnation. So what an abandoned thread reports, if it goes on later, goes to its abandoned incarnation, and is never
taken for a report of the next one.
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
    """Raised in an abandoned actor when it next uses the tree; it ends the actor and its thread.

    A BaseException, as `asyncio.CancelledError` is, so that an `except Exception` in a handler does not catch it.
    """


class WedgedError(Exception):
    """A child took too long: in its constructor, its start, a message, or its end; or it gave no sign of life."""


class Phase(enum.IntEnum):
    """How far an incarnation got. The phase never goes back."""

    STARTING = 1  # until it is up: for an actor, from the constructor to the end of `started()`
    RUNNING = 2
    LEAVING = 3  # it takes no more messages, and releases its resources
    ENDED = 4  # its thread does nothing any more


class Work(NamedTuple):
    """The message that an actor handles, and its deadline."""

    since: float
    deadline: float  # when the actor counts as stuck; infinite for an actor that is not checked
    message: Any
    reply: Any = None  # the future that the asker waits for; None if nobody asked
    declared: bool = False  # whether the actor has called `busy`

    @property
    def what(self) -> str:
        """The name of the message's type; never its content, which may be secret."""
        return type(self.message).__name__


class Body(Protocol):
    """What runs in an incarnation: an actor, a process or a tree."""

    def run(self, life: Incarnation) -> None:
        """Run to the end, on the thread of `life`: call `life.up()` once up; return after a good end, else raise."""

    def request_stop(self, patience: float) -> None:
        """Begin to end, within `patience` seconds. Any thread; returns at once."""

    def abandon(self) -> None:
        """End as soon as possible: the incarnation was abandoned. Any thread; returns at once."""


class Incarnation:
    """The record of one incarnation, shared by its thread, which reports, and the supervisor, which waits.

    Attributes:
        phase, error, trace, up_at, leaving_at: Written under `changed`, read anywhere. `error` is the first one only.
        task: The fields of `Work`, or None while it handles no message. Only its own thread writes it.
        inbox: An actor's mailbox; None before the actor is made and after it has begun to end.
        abandoned: Set once, under the lock of the directory, so that no message passes afterwards.
        must_leave: Whether it begins no more messages: it was abandoned, or half of its time to stop is over.
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
        """The id and the generation, such as `clipboard#2`; also the name of the thread."""
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

    # --- Run on the incarnation's thread ------------------------------------------------------------------------------

    def launch(self, make: Callable[[], Body]) -> None:
        """Start the thread, which makes the body and runs it.

        Constructor, messages and end run on one thread, so that objects bound to the thread that made them, such as an
        SQLite connection, can be made in the constructor.
        """
        self.thread = threading.Thread(target=self._run, args=(make,), name=self.name, daemon=True)
        self.thread.start()

    def _run(self, make: Callable[[], Body]) -> None:
        # Every end passes here, a SystemExit included, so it is reported exactly once.
        try:
            self._body = body = make()
            # `abandon` and `request_stop` may have come before there was a body to pass them to.
            if self.abandoned:
                raise AbandonedError(self.name)  # noqa: TRY301 - reported below, as any error
            if not self.stop_requested:
                body.run(self)
        except BaseException as error:  # noqa: BLE001 - it is reported to the supervisor
            self.leave(error)
        finally:
            self._body = None  # so that the actor can be collected
            self._advance(Phase.ENDED)

    # --- Reports, made on that thread ---------------------------------------------------------------------------------

    def up(self) -> None:
        """Report that it is up."""
        with self._changed:
            self.up_at = self._now()
            self._advance(Phase.RUNNING)

    def leave(self, error: BaseException | None = None) -> None:
        """Report that it has begun to end, because of `error`, or on request if None."""
        with self._changed:
            if error is not None:
                if self.error is None:
                    self.error = error
                    # Taken now: an asker that gets the same error adds frames of its own to it.
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
        """Report that it begins to handle a message."""
        now = self._now()
        deadline = now + self._health
        self.task = (now, deadline, message, reply, False)
        # The supervisor may sleep until a later deadline. Write the task before reading `next_look`: see
        # HealthWatch.look.
        if deadline < self._watch.next_look:
            self._watch.on_busy(deadline)

    def extend(self, seconds: float) -> None:
        """Move the deadline of the message in hand to `seconds` from now, if that is later."""
        if self.task is not None:
            since, deadline, message, reply, _ = self.task
            deadline = max(deadline, self._now() + seconds)
            self.task = (since, deadline, message, reply, True)
            self._watch.on_busy(deadline)

    def finish(self) -> None:
        """Report that the message in hand is done."""
        self.task = None

    @property
    def work(self) -> Work | None:
        """The message in hand; None while there is none."""
        task = self.task
        return None if task is None else Work(*task)

    # --- Requests, made by the supervisor -----------------------------------------------------------------------------

    def request_stop(self, patience: float) -> None:
        """Ask it to be down in `patience` seconds. An actor handles the messages in its mailbox first."""
        self.stop_requested = True
        body = self._body
        if body is not None:
            body.request_stop(patience)

    def hurry(self) -> None:
        """Ask an actor to stop after the message in hand."""
        self.must_leave = True

    def abandon(self) -> None:
        """Have the body end as soon as possible. Call `Directory.abandon` before."""
        body = self._body
        if body is not None:
            body.abandon()

    @property
    def has_thread(self) -> bool:
        """Whether its thread exists."""
        return self.thread is not None and self.thread.is_alive()

    @property
    def over(self) -> bool:
        """Whether its thread does nothing any more."""
        return self.phase is Phase.ENDED or self.lost

    @property
    def lost(self) -> bool:
        """Whether its thread has gone without a report. No known cause: a safeguard against defects."""
        return self.phase is not Phase.ENDED and self.thread is not None and not self.thread.is_alive()

    @property
    def came_up(self) -> bool:
        """Whether it has been up, also if it has ended since."""
        return self.up_at is not None

    def is_well(self, patience: float) -> bool:
        """Return whether it is up, and at its message for less than `patience` seconds, or has called `busy`."""
        work = self.work  # read once: its own thread changes it
        if self.phase is not Phase.RUNNING or not self.has_thread:
            return False
        return work is None or work.declared or self._now() - work.since < patience

    def uptime(self, now: float) -> float:
        """Return the seconds since it came up; 0.0 if it never did."""
        return 0.0 if self.up_at is None else now - self.up_at
