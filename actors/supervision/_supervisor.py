"""A supervisor as in Erlang/OTP, for pykka actors: starts them, watches them, restarts what fails, gives up in time.

See docs/supervision.md for the options and how to choose them. What differs from OTP follows from one fact, that a
thread can't be killed: an actor that does not stop is abandoned, and if that recurs the tree escalates, because only
the end of the process ends its threads.
"""

from __future__ import annotations

import enum
import random as random_module
import threading
from typing import TYPE_CHECKING

from actors.supervision._child import Child
from actors.supervision._events import Event, EventKind
from actors.supervision._ghosts import Ghosts
from actors.supervision._incarnation import WedgedError
from actors.supervision._lifecycle import Lifecycle
from actors.supervision._restarts import Backoff, RestartWindow, check_reachable
from actors.supervision._spec import Restart, Strategy
from actors.supervision._timers import Clock
from actors.supervision.debug import describe, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.supervision._spec import ChildSpec

LIVENESS = 30.0
"""Seconds after which the supervisor of an idle tree wakes up to see that every thread is still there."""


class Outcome(enum.Enum):
    """How a tree ended."""

    STOPPED = "stopped"  # as requested
    FAILED = "failed"  # a child did not start in the first place
    ESCALATED = "escalated"  # it failed too often: the process should end with a status other than 0


class StartError(Exception):
    """A child did not start; what had been started before it is stopped again. `__cause__` is its error, if any."""


class Supervisor:
    """Runs a tree of one level: ordered children, each on its own thread, and this supervisor on another.

    Args:
        children: Their specifications, in the order to start them in; they are stopped in reverse.
        strategy: Which children are restarted with the one that ended.
        intensity: This many restarts within `period` seconds are fine; one more escalates.
        period: Seconds.
        backoff: The wait before a restart.
        abandonments: This many abandoned threads are borne, counting those that are younger than `abandonment_period`
            and those that still exist; one more escalates.
        abandonment_period: Seconds.
        clock: Where time comes from; every deadline of the tree but the timeout of an ask is measured by it.
        random: Numbers from 0 to 1, for the jitter.
        on_event: Told what happens: mostly on the supervisor's thread, `DROPPED` on the sender's. It must not block;
            it may send to a child (what is dropped on the way is not reported again).

    Raises:
        ValueError: If ids are not unique, or with these limits the tree would never escalate.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: int = 5,
        period: float = 30.0,
        backoff: Backoff | None = None,
        abandonments: int = 1,
        abandonment_period: float = 600.0,
        clock: Clock | None = None,
        random: Callable[[], float] = random_module.random,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        backoff = Backoff() if backoff is None else backoff
        specs = list(children)
        self._children = {spec.id: Child(spec, backoff, random) for spec in specs}
        if len(self._children) != len(specs):
            raise ValueError("two children have the same id")
        self._strategy = strategy
        self._window = RestartWindow(intensity, period)
        check_reachable(self._window, backoff)
        self._clock = Clock() if clock is None else clock
        self._ghosts = Ghosts(abandonments, abandonment_period)
        self._lives = Lifecycle(specs, self._ghosts, self._clock, on_event)
        self._timers = self._lives.timers
        self.directory = self._lives.directory
        self._thread: threading.Thread | None = None
        self._up = False
        self._start_error: StartError | None = None
        self._escalation: str | None = None
        self._outcome: Outcome | None = None
        self._over = threading.Event()

    # --- For the process that runs the tree ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start all children, one after another; returns when all are up.

        Raises:
            StartError: If one did not start, or `stop` was called meanwhile; all are stopped then.
            RuntimeError: If the tree was started before.
        """
        with self._lives.changed:
            if self._thread is not None:
                raise RuntimeError("a supervisor is started once")
            self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
            self._thread.start()
            while not self._up and self._outcome is None:
                self._lives.changed.wait()
            error = self._start_error
        if error is None and not self._up:
            error = StartError(self._escalation or "the tree was stopped")
        if error is not None:
            raise error

    def request_stop(self, timeout: float | None = None) -> None:
        """Ask the tree to stop, and return at once. Any thread; also from a signal handler or an actor.

        Args:
            timeout: Seconds for all children together, besides their own deadlines. Each may take half of what is
                left, so that one that hangs does not cost the others their orderly end; the last may take all of it.
        """
        self._lives.request_stop(timeout)

    def stop(self, timeout: float | None = None) -> tuple[str, ...]:
        """Stop all children, from last to first, each within its deadline; returns when the tree is down.

        Not to be called on an actor's thread, which it would wait for: see `request_stop`, also for `timeout`.

        Returns:
            The ids of those that did not stop and were abandoned, during the stop or before and still existing.
        """
        self.request_stop(timeout)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self.wait()
        return self._ghosts.existing()

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Wait until the tree is down; None if it still runs after `timeout` seconds (real time)."""
        self._over.wait(timeout)
        return self._outcome

    @property
    def escalation(self) -> str | None:
        """Why the tree has given up, in one line; None if it has not."""
        return self._escalation

    @property
    def restarts(self) -> int:
        """How often children were started again, siblings that had to follow included."""
        return sum(child.restarts for child in self._children.values())

    # --- The supervisor's own thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        lives = self._lives
        try:
            if self._start_all():
                with lives.changed:
                    self._up = True
                    lives.changed.notify_all()
                while not self._ends():
                    self._step()
        except BaseException as error:  # noqa: BLE001 - a defect here must not leave a tree that nobody watches
            self._escalate(f"the supervisor failed: {describe(error)}", trace_of(error))
        finally:
            try:
                self._stop_all()
                self._timers.close()
                lives.emit(Event(EventKind.STOPPED, restarts=self.restarts, error=" ".join(self._ghosts.existing())))
            finally:
                with lives.changed:
                    self._outcome = self._judge()
                    lives.changed.notify_all()
                self._over.set()

    def _judge(self) -> Outcome:
        if self._start_error is not None:
            return Outcome.FAILED
        return Outcome.STOPPED if self._escalation is None else Outcome.ESCALATED

    def _start_all(self) -> bool:
        for child in self._children.values():
            if not self._lives.stop_requested:
                self._lives.start(child)
            life = child.incarnation
            if life is None or not life.came_up:
                error = None if life is None else life.error
                reason = "the tree was stopped" if self._lives.stop_requested else describe(error)
                self._start_error = StartError(f"{child.id} did not start: {reason}")
                self._start_error.__cause__ = error
                return False
        return True

    def _stop_all(self) -> None:
        left = list(self._children.values())
        while left:
            child = left.pop()
            remaining = self._lives.stop_by - self._clock.monotonic()
            self._lives.stop(child, max(0.0, remaining / 2 if left else remaining))
            self._lives.retire(child)

    def _step(self) -> None:
        """Wait until something is to be done, and do it."""
        self._lives.wait(self._has_work, self._next_time)
        if self._lives.stop_requested:
            return
        for child in self._children.values():
            # One at a time, as OTP does: dealing with the first may take the others down in good order.
            if child.has_left(self._clock.monotonic()):
                self._lives.bury(child)
                self._restart_after(child)
                return
        if self._clock.monotonic() >= self._lives.health.next_look:
            self._replace_the_stuck()
        self._start_due()

    def _has_work(self) -> bool:
        now = self._clock.monotonic()
        return self._lives.stop_requested or any(child.has_left(now) for child in self._children.values())

    def _next_time(self) -> float:
        """When something is to be done even if nothing is reported."""
        now = self._clock.monotonic()
        leaving = [child.leave_by for child in self._children.values()]
        return min(now + LIVENESS, self._lives.health.next_look, *leaving, *(due for _, due in self._waiting()))

    def _replace_the_stuck(self) -> None:
        """Give up actors that are stuck in a message."""
        now = self._clock.monotonic()
        running = {child.incarnation: child for child in self._children.values() if child.incarnation and child.running}
        for incarnation in self._lives.health.look(running, now):
            child, work = running[incarnation], incarnation.work
            if child.incarnation is incarnation and work is not None and work.deadline <= now:
                self._lives.abandon(child, WedgedError(f"in {work.what} for {now - work.since:.1f} s"))
                self._lives.bury(child)
                self._restart_after(child)

    # --- What follows from the end of a child -------------------------------------------------------------------------

    def _restart_after(self, ended: Child) -> None:
        """Decide what follows, as the child's specification and the strategy say."""
        if self._ends():
            return
        kind = ended.spec.restart
        if kind is Restart.TEMPORARY or (kind is Restart.TRANSIENT and ended.error is None):
            self._lives.retire(ended)
            return
        now = self._clock.monotonic()
        if not self._window.record(now):
            self._escalate(
                f"{ended.id} failed, the restart after {self._window.intensity} in {self._window.period:g} s: "
                f"{describe(ended.error)}"
            )
            return
        delay = ended.attempts.next_delay(ended.last_uptime)
        ids = self._strategy.affected(list(self._children), ended.id)
        for child in [self._children[child_id] for child_id in reversed(ids)]:
            self._lives.stop(child)  # the one that ended is down already
            if child.spec.restart is Restart.TEMPORARY:
                self._lives.retire(child)
            else:
                child.wait_until(now + delay)
                self.directory.expect(child.id)
        self._lives.emit(ended.event(EventKind.RESTARTING)._replace(delay=delay, error=describe(ended.error)))

    def _start_due(self) -> None:
        """Start again what has waited long enough."""
        while not self._ends():
            child = next((child for child, due in self._waiting() if due <= self._clock.monotonic()), None)
            if child is None:
                return
            child.restarts += 1
            self._lives.start(child)

    def _waiting(self) -> list[tuple[Child, float]]:
        """Those that wait for their restart, and until when, in order, up to the first that holds up the rest."""
        waiting = []
        for child in self._children.values():
            if child.due is not None:
                waiting.append((child, child.due))
            if self._strategy is not Strategy.ONE_FOR_ONE and not (child.running or child.finished):
                break
        return waiting

    def _ends(self) -> bool:
        """Whether the tree has to end: as requested, or because it gives up, for which too many ghosts are a reason."""
        if self._lives.stop_requested:
            return True
        if self._ghosts.too_many:
            names = self._ghosts.names()
            last = describe(self._ghosts.last)
            self._escalate(f"{len(names)} actors had to be abandoned ({', '.join(names)}), the last {last}")
        return self._escalation is not None

    def _escalate(self, reason: str, trace: str = "") -> None:
        if self._escalation is None:
            self._escalation = reason
            self._lives.emit(Event(EventKind.ESCALATED, restarts=self.restarts, error=reason, trace=trace))
