"""Random crashes, hangs, ends and jumps of the clock, against a model of who must be up and what must be told."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.supervision import ActorGoneError, Backoff, EventKind, Outcome, Restart, StartError, Strategy, Supervisor
from tests.supervision.support import Do, FakeClock, Script, Tell, Which, eventually, raising, snapshot

RESTARTS = {"a": Restart.PERMANENT, "b": Restart.TRANSIENT, "c": Restart.TEMPORARY, "d": Restart.PERMANENT}
INTENSITY, PERIOD, MAILBOX, HEALTH = 4, 100.0, 6, 10.0
BACKOFF = Backoff(initial=1.0, factor=2.0, maximum=8.0, jitter=0.0, quiet=30.0)

children = st.sampled_from(sorted(RESTARTS))
few = st.integers(0, 2)  # before and behind what ends a child, with room for that in its mailbox


class Model:
    """One child, as the documentation says it has to be."""

    def __init__(self, restart: Restart) -> None:
        self.restart = restart
        self.state = "waiting"
        self.generation = 0
        self.due: float | None = 0.0
        self.terminated = False
        self.failed = False  # it has just ended, because of an error
        self.ended = False  # it has just ended
        self.up_at: float | None = None
        self.in_a_row = 0
        self.broken_starts = 0
        self.kept: list[Any] = []  # numbers of messages, and futures of asks
        self.told: list[str] = []
        self.events: Counter[EventKind] = Counter()
        self.answers: list[tuple[Any, int | None]] = []  # futures, and the generation that must have answered

    def drop_all(self) -> None:
        self.events[EventKind.DROPPED] += len(self.kept)
        self.answers += [(item, None) for item in self.kept if not isinstance(item, str)]
        self.kept.clear()

    def retire(self) -> None:
        self.state, self.due = "finished", None
        self.drop_all()

    def hand_over(self) -> None:
        for item in self.kept:
            if isinstance(item, str):
                self.told.append(item)
            else:
                self.answers.append((item, self.generation))
        self.kept.clear()


class Machine(RuleBasedStateMachine):
    """A tree on a clock that only the test moves."""

    @initialize(strategy=st.sampled_from(Strategy))
    def begin(self, strategy: Strategy) -> None:
        self.script, self.clock, self.strategy = Script(), FakeClock(), strategy
        self.models = {child: Model(restart) for child, restart in RESTARTS.items()}
        self.failures: list[float] = []
        self.over = False
        self.number = 0
        self.tree = Supervisor(
            [self.script.spec(child, restart, mailbox=MAILBOX, health=HEALTH) for child, restart in RESTARTS.items()],
            strategy=strategy, intensity=INTENSITY, period=PERIOD, backoff=BACKOFF, abandonments=1000,
            clock=self.clock, on_event=self.script.events.append,
        )  # fmt: skip
        self.tree.start()
        self.refs = {child: self.tree.directory.ref(child) for child in RESTARTS}
        self.run()

    # --- The model of the supervisor ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what the supervisor has to do now."""
        while not self.over:
            ended = next((model for model in self.models.values() if model.ended), None)
            if ended is not None:
                self.restart_after(ended)
            elif (due := self.next_due()) is not None:
                self.start(due)
            else:
                return

    def next_due(self) -> Model | None:
        for model in self.models.values():
            if model.due is not None and model.due <= self.clock.monotonic():
                return model
            if self.strategy is not Strategy.ONE_FOR_ONE and model.state == "waiting":
                return None
        return None

    def start(self, model: Model) -> None:
        model.generation += 1
        model.due, model.terminated = None, False
        if model.broken_starts:
            model.broken_starts -= 1
            model.state, model.up_at, model.ended, model.failed = "waiting", None, True, True
            return
        model.state, model.up_at = "running", self.clock.monotonic()
        model.events[EventKind.STARTED] += 1
        model.hand_over()

    def end(self, model: Model, *, failed: bool) -> None:
        model.ended, model.failed, model.state = True, failed, "waiting"

    def restart_after(self, ended: Model) -> None:
        now = self.clock.monotonic()
        ended.ended = False
        ended.events[EventKind.CRASHED if ended.failed else EventKind.ENDED] += 1
        if ended.restart is Restart.TEMPORARY or (ended.restart is Restart.TRANSIENT and not ended.failed):
            ended.retire()
            return
        self.failures = [*(time for time in self.failures if time >= now - PERIOD), now]
        if len(self.failures) > INTENSITY:
            self.over = True
            return
        if ended.up_at is not None and now - ended.up_at >= BACKOFF.quiet:
            ended.in_a_row = 0
        delay = min(BACKOFF.maximum, BACKOFF.initial * BACKOFF.factor**ended.in_a_row)
        ended.in_a_row += 1
        ended.events[EventKind.RESTARTING] += 1
        models = list(self.models.values())
        at = models.index(ended)
        last = {Strategy.ONE_FOR_ONE: at + 1}.get(self.strategy, len(models))
        first = 0 if self.strategy is Strategy.ONE_FOR_ALL else at
        for model in models[first:last]:
            if model.terminated:
                continue
            if model.state == "running":
                model.events[EventKind.ENDED] += 1
            if model.restart is Restart.TEMPORARY:
                model.retire()
            else:
                model.state, model.due = "waiting", max(model.due or 0.0, now + delay)

    # --- What happens -------------------------------------------------------------------------------------------------

    def alive(self) -> bool:
        return not self.over

    def is_quiet(self) -> bool:
        """Whether nobody waits for a restart."""
        return not self.over and all(model.state != "waiting" for model in self.models.values())

    def tell(self, child: str, count: int) -> None:
        model = self.models[child]
        for _ in range(count):
            self.number += 1
            self.tree.directory.send(child, Tell(str(self.number)))
            if model.state == "finished" or len(model.kept) >= MAILBOX:
                model.events[EventKind.DROPPED] += 1
            else:
                model.kept.append(str(self.number))
        if model.state == "running":
            model.hand_over()

    @precondition(alive)
    @rule(child=children, count=few)
    def told(self, child: str, count: int) -> None:
        self.tell(child, count)

    @precondition(alive)
    @rule(child=children)
    def asked(self, child: str) -> None:
        model = self.models[child]
        future = self.refs[child].ask(Which(), block=False)
        if model.state == "running":
            model.answers.append((future, model.generation))
        elif model.state == "finished" or len(model.kept) >= MAILBOX:
            model.events[EventKind.DROPPED] += 1
            model.answers.append((future, None))
        else:
            model.kept.append(future)

    @precondition(alive)
    @rule(child=children, before=few, behind=few, normal=st.booleans())
    def ends(self, child: str, before: int, behind: int, *, normal: bool) -> None:
        model = self.models[child]
        if model.state != "running":
            return
        self.tell(child, before)
        act = (lambda probe: probe.stop()) if normal else raising(RuntimeError("as told"))
        self.tree.directory.send(child, Do(act))
        if normal:  # what is behind the request to stop, however soon it is sent, is the next life's
            eventually(lambda: self.count(EventKind.ENDED, child) > model.events[EventKind.ENDED])
        self.end(model, failed=not normal)
        self.run_up_to_messages(child, behind)

    def run_up_to_messages(self, child: str, behind: int) -> None:
        """Send some more to a child that ends; whether that is noticed before or after makes no difference."""
        numbers = [str(self.number + index + 1) for index in range(behind)]
        self.number += behind
        for number in numbers:
            self.tree.directory.send(child, Tell(number))
        model = self.models[child]
        model.kept += numbers
        self.run()
        if model.state == "running":
            model.hand_over()

    @precondition(is_quiet)
    @rule(child=children, behind=few)
    def hangs(self, child: str, behind: int) -> None:
        model = self.models[child]
        if model.state != "running" or any(other.broken_starts for other in self.models.values()):
            return
        self.tree.directory.send(child, Do(self.script.hang))
        life = self.tree._children[child].incarnation
        assert life is not None
        eventually(lambda: life.work is not None)
        self.clock.advance(HEALTH)
        eventually(lambda: self.tree._shared.health.next_look == self.clock.monotonic() + 1, "a second look is planned")
        numbers = [str(self.number + index + 1) for index in range(behind)]
        self.number += behind
        for number in numbers:
            self.tree.directory.send(child, Tell(number))
        self.clock.advance(1.0)
        model.kept += numbers
        model.events[EventKind.ABANDONED] += 1
        self.end(model, failed=True)
        self.run()

    @precondition(alive)
    @rule(child=children, count=st.integers(1, 2))
    def will_not_start(self, child: str, count: int) -> None:
        model = self.models[child]
        if model.broken_starts:
            return
        model.broken_starts = count
        first = model.generation + 1
        self.script.fail(child, "started", *range(first, first + count))

    @precondition(alive)
    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 8.0, 31.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.run()

    @precondition(alive)
    @rule(child=children)
    def is_terminated(self, child: str) -> None:
        model = self.models[child]
        self.tree.terminate_child(child)
        model.events[EventKind.ENDED] += model.state == "running"
        model.retire()
        model.terminated = True
        self.run()

    @precondition(alive)
    @rule(child=children)
    def is_wanted_again(self, child: str) -> None:
        model = self.models[child]
        if model.state != "finished":
            return
        try:
            self.tree.restart_child(child)
        except StartError:
            assert model.broken_starts
            self.start(model)
            model.ended = False
            model.events[EventKind.CRASHED] += 1
            model.retire()
        else:
            self.start(model)
        self.run()

    @precondition(lambda self: self.over)
    @rule()
    def stays_over(self) -> None:
        """A tree that has escalated does nothing any more; hypothesis wants a rule for each state."""

    # --- What must be so ----------------------------------------------------------------------------------------------

    def count(self, kind: EventKind, child: str) -> int:
        return self.script.count(kind, child)

    def seen(self, child: str) -> Counter[EventKind]:
        return Counter(event.kind for event in list(self.script.events) if event.id == child)

    @invariant()
    def agrees(self) -> None:
        if self.over:
            assert self.tree.wait(30) is Outcome.ESCALATED
            return
        expected = {child: (model.state, model.generation) for child, model in self.models.items()}

        def differs() -> str:
            return f"{expected} is {snapshot(self.tree)} after {self.script.events}"

        eventually(lambda: {s.id: (s.state, s.generation) for s in snapshot(self.tree)} == expected, differs)
        for child, model in self.models.items():
            eventually(
                lambda child=child, model=model: self.script.told[child] == model.told,  # type: ignore[misc]
                lambda child=child, model=model: f"{model.told} is {self.script.told[child]} in {child}",  # type: ignore[misc]
            )
            eventually(
                lambda child=child, model=model: self.seen(child) == +model.events,  # type: ignore[misc]
                lambda child=child, model=model: f"{model.events} is {self.seen(child)} of {child}",  # type: ignore[misc]
            )
            for future, generation in model.answers:
                try:
                    assert future.get(timeout=30) == generation
                except ActorGoneError:
                    assert generation is None
            model.answers.clear()

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        self.script.release.set()
        self.tree.stop()
        assert self.tree.wait() is (Outcome.ESCALATED if self.over else Outcome.STOPPED)
        told = [int(text) for child in RESTARTS for text in self.script.told[child]]
        assert len(told) == len(set(told)), "none is handled twice"
        for child, model in self.models.items():
            assert self.script.told[child] == sorted(self.script.told[child], key=int), "none overtakes another"
            for future, generation in [
                *model.answers,
                *((item, 0) for item in model.kept if not isinstance(item, str)),
            ]:
                try:
                    assert future.get(timeout=30) >= (generation or 0)
                except ActorGoneError:
                    assert generation in {None, 0}, "none waits for ever"


TestTree = Machine.TestCase
TestTree.settings = settings(stateful_step_count=25)
