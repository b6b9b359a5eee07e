"""A supervisor as in Erlang/OTP: starts children, watches them, restarts those that fail, and gives up in time.

See docs/supervision.md for the options and how to choose them. The main difference from OTP is that a thread can't be
killed. So an actor that does not stop is abandoned, and if that recurs the tree escalates, because only the end of the
process ends its threads.
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
"""Seconds after which the supervisor of an idle tree wakes up, to check its threads and to call `heartbeat`."""


class Supervisor:
    """Runs children in order, each on its own thread, supervised on a further thread. It may be a child itself.

    Args:
        children: Their specifications, in the order of their start; they are stopped in reverse.
        strategy: Which children are restarted with the one that ended.
        intensity: This many restarts within `period` seconds are fine; one more escalates.
        period: Seconds.
        backoff: The wait before a restart.
        abandonments: So many abandoned threads are accepted, counting those that are younger than `abandonment_period`
            and those that still exist; one more escalates.
        abandonment_period: Seconds.
        auto_shutdown: Whether the tree ends by itself once significant children have ended.
        heartbeat: Called on the supervisor's thread at least every `LIVENESS` seconds, unless that thread hangs.
        clock: The clock for all deadlines of the tree, except the timeouts of asks.
        random: Returns numbers from 0 to 1, for the jitter.
        on_event: Called with each event, on the supervisor's thread; with `DROPPED` on the sender's. It must not block.
            It may send to a child; a message that is dropped then is not reported.

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
        """Start all children, one after another. Blocks until all are up.

        Raises:
            StartError: If a child did not start, or `stop` was called meanwhile. All children are stopped then.
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
        """Ask the tree to stop, and return at once. Any thread, an actor's and a signal handler included.

        Args:
            timeout: Seconds for all children together, besides their own deadlines. Each child gets half of the time
                that is left, so that one that hangs leaves time for the others; the last one gets all of it.
        """
        self._shared.request_stop(timeout)

    def stop(self, timeout: float | None = None) -> tuple[str, ...]:
        """Stop all children, from last to first, each within its deadline. Blocks until the tree is down.

        An actor calls `request_stop` instead: this would wait for the actor's own thread. See there for `timeout`.

        Returns:
            The ids of the children that were abandoned, now or before, and whose threads still exist.
        """
        self.request_stop(timeout)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self.wait()
        return self._ghosts.existing()

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Wait until the tree is down, and return how it ended; None if `timeout` seconds (real time) pass before."""
        self._over.wait(timeout)
        return self._outcome

    @property
    def escalation(self) -> str | None:
        """Why the tree has given up, in one line; None if it has not."""
        return self._escalation

    @property
    def restarts(self) -> int:
        """The number of restarts of all children, including those that followed from a sibling's."""
        return sum(child.restarts for child in list(self._children.values()))

    # --- Children that come and go while the tree runs ----------------------------------------------------------------
    # For any thread but the supervisor's own, on which `on_event` runs. These methods block. An actor calls `busy`
    # before; if the supervisor has to stop that actor meanwhile, the method raises a RuntimeError.

    def start_child(self, spec: ChildSpec, timeout: float | None = None) -> ChildRef:
        """Add a child behind the others, start it, and return its ref once it is up.

        A temporary child is forgotten when it has ended.

        Raises:
            StartError: If it did not start; then it is not added.
            ValueError: If a child has this id, or it is significant in a tree that does not end by itself.
            AskTimeoutError: If that took longer than `timeout` seconds.
            RuntimeError: If the tree does not run.
        """

        def act() -> ChildRef:
            child = self._children.add(spec, forgettable=spec.restart is Restart.TEMPORARY)
            try:
                self._children.start(child)
            except StartError:
                self._children.forget(child)
                raise
            return self.directory.ref(spec.id)

        ref: ChildRef = self._do(act, timeout)
        return ref

    def terminate_child(self, child_id: str, timeout: float | None = None) -> None:
        """Stop a child, and keep it down. It does not count as a failure, nor as the end of a significant child.

        Raises:
            UnknownActorError: If there is no such child.
            AskTimeoutError: If that took longer than `timeout` seconds.
            RuntimeError: If the tree does not run, or an actor terminates itself: it calls `pykka.Actor.stop` instead.
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
        """Start a child that was terminated or has ended for good. Blocks until it is up.

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
        """Forget a child that was terminated or has ended for good; its id is free again.

        Raises:
            ValueError: If it is not down for good.
            UnknownActorError, AskTimeoutError, RuntimeError: As `terminate_child`.
        """
        self._do(lambda: self._children.forget(self._children.find_down(child_id)), timeout)

    def as_child(self, context: Context) -> TreeBody:
        """Return this supervisor as the body of a child of another tree. Called by that tree.

        If this tree has no `on_event`, its events go to that of the outer tree, with ids such as "outer/inner".
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
        except BaseException as error:  # noqa: BLE001 - a defect here must not leave the tree unsupervised
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
        """Wait until there is something to do, and do it."""
        if self._heartbeat is not None:
            self._heartbeat()
        liveness = self._clock.monotonic() + LIVENESS
        self._shared.wait(self._has_work, lambda: min(liveness, self._next_time()))
        if self._shared.stop_requested:
            return
        for child in self._children.values():
            # One at a time, as in OTP: the restart of the first may stop the others in an orderly way.
            if child.has_left(self._clock.monotonic()):
                child.conclude()
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
        """Return the time of the next thing to do, if no report comes before."""
        leaving = [child.leave_by for child in self._children.values()]
        return min(math.inf, self._shared.health.next_look, *leaving, *(due for _, due in self._children.waiting()))

    def _replace_the_stuck(self) -> None:
        """Abandon actors that are stuck in a message, and restart them."""
        now = self._clock.monotonic()
        running = {child.incarnation: child for child in self._children.values() if child.incarnation and child.running}
        for incarnation in self._shared.health.look(running, now):
            child, work = running[incarnation], incarnation.work
            if child.incarnation is incarnation and work is not None and work.deadline <= now:
                child.abandon(WedgedError(f"in {work.what} for {now - work.since:.1f} s"))
                child.conclude()
                self._restart_after(child)

    # --- What follows from the end of a child -------------------------------------------------------------------------

    def _restart_after(self, ended: Child) -> None:
        """Retire a child that has ended, or plan its restart and that of its siblings, or escalate."""
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
            self._children.stop(child)  # `ended` is down already
            if child.spec.restart is Restart.TEMPORARY:
                self._children.retire(child)
            else:
                child.wait_until(now + delay)
        self._shared.emit(ended.event(EventKind.RESTARTING)._replace(delay=delay, error=describe(ended.error)))

    def _start_due(self) -> None:
        """Start the children whose wait for a restart is over."""
        while not self._ends():
            child = next((child for child, due in self._children.waiting() if due <= self._clock.monotonic()), None)
            if child is None:
                return
            child.restarts += 1
            child.start()

    def _ends(self) -> bool:
        """Return whether the tree has to end; escalate if too many incarnations were abandoned."""
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
