"""A supervisor as in Erlang/OTP, for pykka actors: starts them, watches them, restarts what fails, gives up in time.

See docs/supervision.md for the options and how to choose them. What differs from OTP follows from one fact, that a
thread can't be killed: an actor that does not stop is abandoned, and if that recurs the tree escalates, because only
the end of the process ends its threads.
"""

from __future__ import annotations

import enum
import logging
import math
import random as random_module
import threading
from typing import TYPE_CHECKING

from actors.child import Child
from actors.debug import describe, stack_of, trace_of
from actors.directory import Directory
from actors.ghosts import Ghosts
from actors.health import HealthWatch
from actors.incarnation import Context, Phase, WedgedError
from actors.messages import ChildStatus, Event, EventKind
from actors.restarts import Backoff, RestartWindow, check_reachable
from actors.spec import Restart, Strategy
from actors.timers import Clock, Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.spec import ChildSpec

logger = logging.getLogger(__name__)

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
        self._on_event = on_event
        self._clock = Clock() if clock is None else clock
        self._timers = Timers(self._clock)
        self._changed = threading.Condition()  # guards what follows, and the phases of all incarnations
        self._health = HealthWatch(self._request_look)
        self._look_requested = False
        self._stop_requested = False
        self._stop_by = math.inf
        self._outcome: Outcome | None = None
        # For who waits for the end alone: the condition is notified with every message that an actor takes up.
        self._over = threading.Event()
        self._escalation: str | None = None
        self._start_error: StartError | None = None
        self._ghosts = Ghosts(abandonments, abandonment_period)
        self._emitting = threading.local()
        self._thread: threading.Thread | None = None
        self._up = False
        self.directory = Directory(
            {spec.id: spec.mailbox for spec in specs},
            lambda child_id, what: self._emit(Event(EventKind.DROPPED, child_id, error=what)),
        )

    # --- For the process that runs the tree ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start all children, one after another; returns when all are up.

        Raises:
            StartError: If one did not start, or `stop` was called meanwhile; all are stopped then.
            RuntimeError: If the tree was started before.
        """
        with self._changed:
            if self._thread is not None:
                raise RuntimeError("a supervisor is started once")
            self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
            self._thread.start()
            while not self._up and self._outcome is None:
                self._changed.wait()
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
        with self._changed:
            self._stop_requested = True
            if timeout is not None:
                self._stop_by = min(self._stop_by, self._clock.monotonic() + timeout)
            self._changed.notify_all()

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

    def snapshot(self) -> tuple[ChildStatus, ...]:
        """Where each child stands, in the order of the specifications. Any thread."""
        with self._changed:
            now = self._clock.monotonic()
            return tuple(child.status(now) for child in self._children.values())

    # --- The supervisor's own thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._start_all():
                with self._changed:
                    self._up = True
                    self._changed.notify_all()
                while not self._stop_requested and self._escalation is None:
                    self._step()
        except BaseException as error:  # noqa: BLE001 - a defect here must not leave a tree that nobody watches
            self._escalate(f"the supervisor failed: {describe(error)}", trace_of(error))
        finally:
            try:
                self._stop_all()
                self._timers.close()
                self._emit(Event(EventKind.STOPPED, restarts=self.restarts, error=" ".join(self._ghosts.existing())))
            finally:
                with self._changed:
                    self._outcome = self._judge()
                    self._changed.notify_all()
                self._over.set()

    def _judge(self) -> Outcome:
        if self._start_error is not None:
            return Outcome.FAILED
        return Outcome.STOPPED if self._escalation is None else Outcome.ESCALATED

    def _start_all(self) -> bool:
        for child in self._children.values():
            if not self._stop_requested:
                self._start_child(child)
            if not child.running:
                error = None if child.incarnation is None else child.incarnation.error
                reason = "the tree was stopped" if self._stop_requested else describe(error)
                self._start_error = StartError(f"{child.id} did not start: {reason}")
                self._start_error.__cause__ = error
                return False
        return True

    def _step(self) -> None:
        """Wait until something is to be done, and do it."""
        self._await(self._has_work, self._next_time())
        if self._stop_requested:
            return
        for child in self._children.values():
            # One at a time, as OTP does: dealing with the first may take the others down in good order.
            if child.has_left(self._clock.monotonic()):
                self._bury(child)
                return
        if self._look_requested or self._clock.monotonic() >= self._health.next_look:
            self._look()
        self._start_due()

    def _has_work(self) -> bool:
        now = self._clock.monotonic()
        return (
            self._stop_requested
            or self._look_requested
            or any(child.has_left(now) for child in self._children.values())
        )

    def _next_time(self) -> float:
        """When something is to be done even if nothing is reported."""
        now = self._clock.monotonic()
        leaving = [child.leave_by for child in self._children.values()]
        return min(now + LIVENESS, self._health.next_look, *leaving, *(due for _, due in self._waiting()))

    def _await(self, condition: Callable[[], bool], until: float) -> bool:
        """Wait for `condition`, until the time `until` or that of a shared deadline."""
        with self._changed:
            while not condition():
                remaining = min(until, self._stop_by) - self._clock.monotonic()
                if remaining <= 0:
                    return False
                self._clock.wait(self._changed, remaining)
            return True

    # --- Starting -----------------------------------------------------------------------------------------------------

    def _start_child(self, child: Child) -> None:
        """Start one child and wait until it is up, or has failed, or has to stop."""
        spec = child.spec
        with self._changed:
            incarnation = child.new_incarnation(self._changed, self._clock)
        self.directory.expect(spec.id)
        context = Context(spec.id, self.directory, self._timers, self._clock, incarnation)
        incarnation.launch(lambda: spec.start(context), self._health.on_busy)
        until = self._clock.monotonic() + spec.startup
        self._await(lambda: incarnation.phase is not Phase.STARTING or self._stop_requested, until)
        if incarnation.phase is Phase.RUNNING:
            self._emit(child.event(EventKind.STARTED))
        elif incarnation.phase is Phase.STARTING and not self._stop_requested:
            self._abandon(child, WedgedError(f"not up after {spec.startup:g} s"))

    def _start_due(self) -> None:
        """Start again what has waited long enough."""
        while not self._stop_requested and self._escalation is None:
            child = next((child for child, due in self._waiting() if due <= self._clock.monotonic()), None)
            if child is None:
                return
            with self._changed:
                child.due = None
                child.restarts += 1
            self._start_child(child)

    def _waiting(self) -> list[tuple[Child, float]]:
        """Those that wait for their restart, and until when, in order, up to the first that holds up the rest."""
        waiting = []
        for child in self._children.values():
            if child.due is not None:
                waiting.append((child, child.due))
            if self._strategy is not Strategy.ONE_FOR_ONE and not (child.running or child.finished):
                break
        return waiting

    # --- Ending -------------------------------------------------------------------------------------------------------

    def _bury(self, child: Child) -> None:
        """Deal with a child that has ended by itself, or is overdue in doing so."""
        incarnation = child.incarnation
        if incarnation is None:
            return
        if incarnation.phase is not Phase.ENDED and not incarnation.abandoned:
            lost = incarnation.lost
            error = WedgedError("its thread is gone" if lost else f"not down after {child.spec.shutdown:g} s")
            self._abandon(child, error)
        self._report_end(child)
        self._restart_after(child)

    def _report_end(self, child: Child) -> None:
        """Log how a life ended, and forget it."""
        incarnation = child.incarnation
        if incarnation is None:
            return
        error = incarnation.error
        if error is None:
            self._emit(child.event(EventKind.ENDED))
        else:
            self._emit(child.event(EventKind.CRASHED)._replace(error=describe(error), trace=incarnation.trace))
        with self._changed:
            child.forget(self._clock.monotonic())

    def _restart_after(self, ended: Child) -> None:
        """Decide what follows from the end of a child, as its specification and the strategy say."""
        if self._escalation is not None:
            return
        kind = ended.spec.restart
        if kind is Restart.TEMPORARY or (kind is Restart.TRANSIENT and ended.error is None):
            self._finish(ended)
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
            if child is not ended:
                self._stop_child(child)
            if child.spec.restart is Restart.TEMPORARY:
                self._finish(child)
            else:
                with self._changed:
                    child.wait_until(now + delay)
                self.directory.expect(child.id)
        self._emit(ended.event(EventKind.RESTARTING)._replace(delay=delay, error=describe(ended.error)))

    def _finish(self, child: Child) -> None:
        with self._changed:
            child.finish()
        self.directory.retire(child.id)

    def _stop_child(self, child: Child, share: float = math.inf) -> None:
        """Stop one child within its deadline, and `share` seconds; abandon it if it does not."""
        incarnation = child.incarnation
        if incarnation is None:
            return
        if not incarnation.abandoned:
            now = self._clock.monotonic()
            patience = min(child.spec.shutdown, share)
            incarnation.request_stop()
            # First it may work off its mailbox. If that takes too long, what is left there is given up, not the actor.
            if not self._await(lambda: incarnation.over, now + patience / 2):
                incarnation.hurry()
                if not self._await(lambda: incarnation.over, now + patience):
                    self._abandon(child, WedgedError(f"not down after {patience:g} s"))
        self._report_end(child)

    def _stop_all(self) -> None:
        left = list(self._children.values())
        while left:
            child = left.pop()
            remaining = self._stop_by - self._clock.monotonic()
            self._stop_child(child, max(0.0, remaining / 2 if left else remaining))
            self._finish(child)

    # --- Giving up ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Find actors that are stuck in a message, and replace them."""
        with self._changed:
            self._look_requested = False
        now = self._clock.monotonic()
        children = [child for child in self._children.values() if child.running]
        for incarnation in self._health.look([child.incarnation for child in children if child.incarnation], now):
            child = self._children[incarnation.id]
            work = incarnation.work
            if child.incarnation is incarnation and work is not None and work.deadline <= now:
                self._abandon(child, WedgedError(f"in {work.what} for {now - work.since:.1f} s"))
                self._report_end(child)
                self._restart_after(child)

    def _request_look(self) -> None:
        with self._changed:
            self._look_requested = True
            self._changed.notify_all()

    def _abandon(self, child: Child, error: WedgedError) -> None:
        """Give a thread up for lost; nothing that it does counts from now on."""
        incarnation = child.incarnation
        if incarnation is None:
            return
        self.directory.abandon(incarnation)
        incarnation.leave(error)
        bearable = self._ghosts.add(incarnation, self._clock.monotonic())
        self._emit(child.event(EventKind.ABANDONED)._replace(error=describe(error), trace=stack_of(incarnation.thread)))
        if not bearable and self._up and not self._stop_requested:
            names = self._ghosts.names()
            self._escalate(f"{len(names)} actors had to be abandoned ({', '.join(names)}), the last {describe(error)}")

    def _escalate(self, reason: str, trace: str = "") -> None:
        if self._escalation is None:
            with self._changed:
                self._escalation = reason
            self._emit(Event(EventKind.ESCALATED, restarts=self.restarts, error=reason, trace=trace))

    def _emit(self, event: Event) -> None:
        """Tell `on_event`; never while holding a lock."""
        if self._on_event is None or getattr(self._emitting, "now", False):
            return
        self._emitting.now = True
        try:
            self._on_event(event)
        except Exception:
            logger.exception("on_event failed for %s of %s", event.kind, event.id)
        finally:
            self._emitting.now = False
