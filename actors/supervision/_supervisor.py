"""A supervisor as in Erlang/OTP, for pykka actors: starts them, watches them, restarts what fails, gives up in time.

See docs/supervision.md for the options and how to choose them. What differs from OTP follows from one fact, that a
thread can't be killed: an actor that does not stop is abandoned, and if that recurs the tree escalates, because only
the end of the process ends its threads.
"""

from __future__ import annotations

import math
import random as random_module
import threading
from typing import TYPE_CHECKING, Any

from actors.supervision._children import Children
from actors.supervision._events import Event, EventKind
from actors.supervision._ghosts import Ghosts
from actors.supervision._incarnation import WedgedError
from actors.supervision._nested import TreeBody
from actors.supervision._outcome import Outcome, StartError
from actors.supervision._requests import Requests
from actors.supervision._restarts import Attempts, Backoff, RestartWindow, check_reachable
from actors.supervision._shared import Shared
from actors.supervision._spec import AutoShutdown, Restart, Strategy
from actors.supervision._timers import Clock
from actors.supervision.debug import describe, trace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.supervision._child import Child
    from actors.supervision._context import Context
    from actors.supervision._ref import ChildRef
    from actors.supervision._spec import ChildSpec

LIVENESS = 30.0
"""Seconds after which the supervisor of an idle tree wakes up to see that every thread is still there."""


class Supervisor:
    """Runs ordered children, each on its own thread, and itself on another; may be a child of another supervisor.

    Args:
        children: Their specifications, in the order to start them in; they are stopped in reverse.
        strategy: Which children are restarted with the one that ended.
        intensity: This many restarts within `period` seconds are fine; one more escalates.
        period: Seconds.
        backoff: The wait before a restart.
        abandonments: This many abandoned threads are borne, counting those that are younger than `abandonment_period`
            and those that still exist; one more escalates.
        abandonment_period: Seconds.
        auto_shutdown: Whether the tree ends by itself once significant children have ended.
        heartbeat: Called on the supervisor's thread at least every `LIVENESS` seconds, as long as that does its work.
        clock: Where time comes from; every deadline of the tree but the timeout of an ask is measured by it.
        random: Numbers from 0 to 1, for the jitter.
        on_event: Told what happens: mostly on the supervisor's thread, `DROPPED` on the sender's. It must not block;
            it may send to a child (what is dropped on the way is not reported again).

    Raises:
        ValueError: If ids are not unique, an option contradicts another, or with these limits the tree would never
                escalate.
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
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        heartbeat: Callable[[], object] | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = random_module.random,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        backoff = Backoff() if backoff is None else backoff
        self._window = RestartWindow(intensity, period)
        check_reachable(self._window, backoff)
        self._heartbeat = heartbeat
        self._clock = Clock() if clock is None else clock
        self._ghosts = Ghosts(abandonments, abandonment_period)
        self._shared = Shared(self._ghosts, self._clock, on_event)
        self.directory = self._shared.directory
        self._requests = Requests(self._shared.wake)
        self._children = Children(
            strategy, auto_shutdown, lambda: Attempts(backoff, random), self._shared, self._requests
        )
        for spec in children:
            self._children.add(spec)
        self._thread: threading.Thread | None = None
        self._up = False
        self._completed = False
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
        with self._shared.changed:
            if self._thread is not None:
                raise RuntimeError("a supervisor is started once")
            self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
            self._thread.start()
            while not self._up and self._outcome is None:
                self._shared.changed.wait()
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
        self._shared.request_stop(timeout)

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
        return sum(child.restarts for child in list(self._children.values()))

    # --- Children that come and go while the tree runs ----------------------------------------------------------------
    # Any thread but the supervisor's own (`on_event`). An actor that calls these waits as with `ask`: it declares with
    # `busy` what may take long, and a supervisor that wants to stop it meanwhile lets it wait no longer.

    def start_child(self, spec: ChildSpec, timeout: float | None = None) -> ChildRef:
        """Add a child behind the others and start it; returns when it is up. A temporary one is forgotten at its end.

        Raises:
            StartError: If it did not start; it is not a child then.
            ValueError: If there is one with this id, or it is significant in a tree that does not end by itself.
            AskTimeoutError: If that took longer than `timeout` seconds.
            RuntimeError: If the tree does not run.
        """

        def act() -> ChildRef:
            child = self._children.add(spec, passing=spec.restart is Restart.TEMPORARY)
            try:
                self._children.start(child)
            except StartError:
                self._children.forget(child)
                raise
            return self.directory.ref(spec.id)

        ref: ChildRef = self._do(act, timeout)
        return ref

    def terminate_child(self, child_id: str, timeout: float | None = None) -> None:
        """Stop a child, and keep it down. That is no failure, and significant to nobody.

        Raises:
            UnknownActorError: If there is no such child.
            AskTimeoutError: If that took longer than `timeout` seconds.
            RuntimeError: If the tree does not run, or an actor wants to terminate itself: see `pykka.Actor.stop`.
        """

        def act() -> None:
            child = self._children.find(child_id)
            self._children.stop(child)
            child.terminated = True
            self._children.retire(child)

        child = self._children.get(child_id)
        life = child and child.incarnation
        if life and life.thread is threading.current_thread():
            raise RuntimeError(f"{child_id} would wait for its own end")
        self._do(act, timeout)

    def restart_child(self, child_id: str, timeout: float | None = None) -> None:
        """Start a child again that was terminated, or has ended; returns when it is up.

        Raises:
            StartError: If it did not start; it stays down.
            ValueError: If it is not down for good.
            UnknownActorError, AskTimeoutError, RuntimeError: As `terminate_child`.
        """

        def act() -> None:
            child = self._children.find_down(child_id)
            child.restarts += 1
            self._children.start(child)

        self._do(act, timeout)

    def delete_child(self, child_id: str, timeout: float | None = None) -> None:
        """Forget a child that was terminated, or has ended; its id is free again.

        Raises:
            ValueError: If it is not down for good.
            UnknownActorError, AskTimeoutError, RuntimeError: As `terminate_child`.
        """
        self._do(lambda: self._children.forget(self._children.find_down(child_id)), timeout)

    def as_child(self, context: Context) -> TreeBody:
        """Become what a child of another tree consists of; for that tree.

        Events go to `on_event` of the outer tree if this one was given none, with ids as "outer/inner".
        """
        if self._shared.on_event is None:
            self._shared.on_event = lambda event: context.emit(
                event._replace(id=f"{context.id}/{event.id}" if event.id else context.id)
            )
        return TreeBody(self)

    def _do(self, action: Callable[[], object], timeout: float | None) -> Any:
        if threading.current_thread() is self._thread:
            raise RuntimeError("the supervisor would wait for itself")
        return self._requests.submit(action, timeout)

    # --- The supervisor's own thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        shared = self._shared
        try:
            if self._start_all():
                self._requests.open()
                with shared.changed:
                    self._up = True
                    shared.changed.notify_all()
                while not self._ends():
                    self._step()
        except BaseException as error:  # noqa: BLE001 - a defect here must not leave a tree that nobody watches
            self._escalate(f"the supervisor failed: {describe(error)}", trace_of(error))
        finally:
            try:
                self._stop_all()
                shared.timers.close()
                shared.emit(Event(EventKind.STOPPED, restarts=self.restarts, error=" ".join(self._ghosts.existing())))
            finally:
                with shared.changed:
                    self._outcome = self._judge()
                    shared.changed.notify_all()
                self._over.set()

    def _judge(self) -> Outcome:
        if self._start_error is not None:
            return Outcome.FAILED
        if self._escalation is not None:
            return Outcome.ESCALATED
        return Outcome.COMPLETED if self._completed else Outcome.STOPPED

    def _start_all(self) -> bool:
        for child in self._children.values():
            try:
                self._children.start(child)
            except StartError as error:
                self._start_error = error
                return False
        return True

    def _stop_all(self) -> None:
        self._requests.close()
        left = list(self._children.values())
        while left:
            child = left.pop()
            remaining = self._shared.stop_by - self._clock.monotonic()
            self._children.stop(child, max(0.0, remaining / 2 if left else remaining))
            child.retire()

    def _step(self) -> None:
        """Wait until something is to be done, and do it."""
        if self._heartbeat is not None:
            self._heartbeat()
        liveness = self._clock.monotonic() + LIVENESS
        self._shared.wait(self._has_work, lambda: min(liveness, self._next_time()))
        if self._shared.stop_requested:
            return
        for child in self._children.values():
            # One at a time, as OTP does: dealing with the first may take the others down in good order.
            if child.has_left(self._clock.monotonic()):
                child.bury()
                self._restart_after(child)
                return
        if self._clock.monotonic() >= self._shared.health.next_look:
            self._replace_the_stuck()
        self._start_due()
        if not self._ends():
            self._requests.run_next()

    def _has_work(self) -> bool:
        now = self._clock.monotonic()
        if self._shared.stop_requested or self._requests.waiting:
            return True
        return any(child.has_left(now) for child in self._children.values())

    def _next_time(self) -> float:
        """When something is to be done even if nothing is reported."""
        leaving = [child.leave_by for child in self._children.values()]
        return min(math.inf, self._shared.health.next_look, *leaving, *(due for _, due in self._children.waiting()))

    def _replace_the_stuck(self) -> None:
        """Give up actors that are stuck in a message."""
        now = self._clock.monotonic()
        running = {child.incarnation: child for child in self._children.values() if child.incarnation and child.running}
        for incarnation in self._shared.health.look(running, now):
            child, work = running[incarnation], incarnation.work
            if child.incarnation is incarnation and work is not None and work.deadline <= now:
                child.abandon(WedgedError(f"in {work.what} for {now - work.since:.1f} s"))
                child.bury()
                self._restart_after(child)

    # --- What follows from the end of a child -------------------------------------------------------------------------

    def _restart_after(self, ended: Child) -> None:
        """Decide what follows, as the child's specification and the strategy say."""
        if self._ends():
            return
        if not ended.spec.restart.after(failed=ended.error is not None):
            self._children.retire(ended)
            self._completed = ended.spec.significant and self._children.completes()
            return
        now = self._clock.monotonic()
        if not self._window.record(now):
            self._escalate(
                f"{ended.id} failed, the restart after {self._window.intensity} in {self._window.period:g} s: "
                f"{describe(ended.error)}"
            )
            return
        delay = ended.attempts.next_delay(ended.last_uptime)
        for child in self._children.affected(ended):
            self._children.stop(child)  # the one that ended is down already
            if child.spec.restart is Restart.TEMPORARY:
                self._children.retire(child)
            else:
                child.wait_until(now + delay)
        self._shared.emit(ended.event(EventKind.RESTARTING)._replace(delay=delay, error=describe(ended.error)))

    def _start_due(self) -> None:
        """Start again what has waited long enough."""
        while not self._ends():
            child = next((child for child, due in self._children.waiting() if due <= self._clock.monotonic()), None)
            if child is None:
                return
            child.restarts += 1
            child.start()

    def _ends(self) -> bool:
        """Whether the tree has to end: as requested, or because it gives up, for which too many ghosts are a reason."""
        if self._shared.stop_requested or self._completed:
            return True
        if self._ghosts.too_many:
            names = self._ghosts.names()
            last = describe(self._ghosts.last)
            self._escalate(f"{len(names)} actors had to be abandoned ({', '.join(names)}), the last {last}")
        return self._escalation is not None

    def _escalate(self, reason: str, trace: str = "") -> None:
        if self._escalation is None:
            self._escalation = reason
            self._shared.emit(Event(EventKind.ESCALATED, restarts=self.restarts, error=reason, trace=trace))
