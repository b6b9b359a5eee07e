"""What the tests of the tree share: a clock whose hands they move, an actor that fails on demand, and waiting."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actors.supervision import BaseActor, ChildSpec, Clock, Restart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors.supervision import Context, Event, EventKind, Supervisor

PATIENCE = 30.0  # for what should take milliseconds; only a failing test waits so long


def eventually(condition: Callable[[], Any], what: str | Callable[[], str] = "it") -> None:
    """Poll with doubling pauses until `condition` holds; `what` is said if it never does."""
    deadline = time.monotonic() + PATIENCE
    pause = 0.005
    while not condition():
        if time.monotonic() >= deadline:
            pytest.fail(f"{what if isinstance(what, str) else what()} did not happen in {PATIENCE} s")
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


class FakeClock(Clock):
    """Stands still until it is moved; then whoever waits looks at it again."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._conditions: set[threading.Condition] = set()
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self._now

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:  # noqa: ARG002 - Clock's signature
        before = self._now
        with self._lock:
            self._conditions.add(condition)
        # Registered first: if the hands moved before that, nobody would wake us.
        if self._now == before:
            condition.wait(timeout=PATIENCE)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
            conditions = list(self._conditions)
        for condition in conditions:
            with condition:
                condition.notify_all()


class Tell(NamedTuple):
    """Handled by noting `text`."""

    text: str


class Do(NamedTuple):
    """Handled by calling `action` with the actor; its result is the answer."""

    action: Callable[[Probe], object]


class Which(NamedTuple):
    """Answered with the generation."""


class ExpectedError(Exception):
    pass


class Script:
    """What the probes of a test do in which phase, and what they did.

    `acts[id, phase, generation]` is called with the probe in that phase; `log` has "phase id#generation" lines.
    """

    def __init__(self) -> None:
        self.acts: dict[tuple[str, str, int], Callable[[Probe], object]] = {}
        self.lines: list[str] = []
        self.told: dict[str, list[str]] = defaultdict(list)
        self.release = threading.Event()  # ends every hang
        self.events: list[Event] = []

    def note(self, phase: str, probe: Probe) -> None:
        self.lines.append(f"{phase} {probe.context.incarnation.name}")
        act = self.acts.get((probe.context.id, phase, probe.context.generation))
        if act is not None:
            act(probe)

    def fail(self, child: str, phase: str, *generations: int, error: BaseException | None = None) -> None:
        for generation in generations:
            self.acts[child, phase, generation] = raising(error or RuntimeError(f"{phase} of {child}"))

    def hang(self, _probe: object = None) -> None:
        self.release.wait(PATIENCE * 2)

    def spec(self, child: str, restart: Restart = Restart.PERMANENT, **options: Any) -> ChildSpec:
        def start(context: Context) -> Probe:
            return Probe(context, self)

        return ChildSpec(child, start, restart, **options)

    def kinds(self, child: str) -> list[EventKind]:
        return [event.kind for event in list(self.events) if event.id == child]

    def count(self, kind: EventKind, child: str | None = None) -> int:
        return sum(event.kind is kind and child in {None, event.id} for event in list(self.events))

    def await_count(self, kind: EventKind, count: int) -> None:
        eventually(lambda: self.count(kind) >= count, f"{kind} for the {count}th time")
        assert self.count(kind) == count

    def phases(self, *phases: str) -> Iterator[str]:
        return (line for line in list(self.lines) if line.split()[0] in phases)


def raising(error: BaseException) -> Callable[[Probe], object]:
    def act(_probe: Probe) -> object:
        raise error

    return act


class Probe(BaseActor):
    expected = (ExpectedError,)

    def __init__(self, context: Context, script: Script) -> None:
        super().__init__(context)
        self.script = script
        script.note("constructor", self)

    def started(self) -> None:
        self.script.note("started", self)

    def handle(self, message: Any) -> object:
        match message:
            case Tell(text):
                self.script.told[self.context.id].append(text)
                return None
            case Which():
                return self.context.generation
            case Do(action):
                return action(self)
        raise TypeError(f"unknown message {message!r}")

    def stopped(self) -> None:
        self.script.note("stopped", self)


def crash(tree: Supervisor, child: str, error: BaseException | None = None) -> None:
    tree.directory.send(child, Do(raising(error or RuntimeError("crash"))))


class Status(NamedTuple):
    """Where a child stands."""

    id: str
    state: str  # "waiting" for its start or restart, "starting", "running", "leaving", "ended", or "finished" for good
    generation: int
    restarts: int


def snapshot(tree: Supervisor) -> list[Status]:
    """Look at all children, in the order of the specifications."""
    found = []
    for child in tree._children.values():
        life = child.incarnation
        state = life.phase.name.lower() if life is not None else "finished" if child.finished else "waiting"
        found.append(Status(child.id, state, child.generation, child.restarts))
    return found


def generations(tree: Supervisor) -> dict[str, int]:
    return {status.id: status.generation for status in snapshot(tree)}


def serves(tree: Supervisor, child: str, generation: int = 1) -> None:
    """Wait until `child` answers in its `generation` or a later one."""
    eventually(
        lambda: any(s.id == child and s.generation >= generation and s.state == "running" for s in snapshot(tree)),
        f"generation {generation} of {child}",
    )
    assert tree.directory.ask(child, Which(), PATIENCE) >= generation
