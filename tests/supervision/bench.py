"""Measures supervised actors beside pykka's own, in one run: `python -m tests.supervision.bench`.

Each figure is the median of several rounds, in which both take turns, so that what else the machine does meets both.
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka

from actors.supervision import Backoff, BaseActor, ChildSpec, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = 20_000
ASKS = 5_000
CRASHES = 200
CHILDREN = 1_000
ROUNDS = 7


class Plain(pykka.ThreadingActor):
    """Knows nothing of supervision."""

    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            message.set()
        elif isinstance(message, Exception):
            raise message
        return message


class Rich(BaseActor):
    """Of the library's own kind."""

    def handle(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            message.set()
        return message


class Way(NamedTuple):
    """One way to reach an actor."""

    name: str
    tell: Callable[[Any], object]
    ask: Callable[[Any], object]


def tells(way: Way) -> float:
    """Return how many are handled in a second."""
    done, tell = threading.Event(), way.tell
    start = time.perf_counter()
    for number in range(MESSAGES):
        tell(number)
    tell(done)
    done.wait()
    return MESSAGES / (time.perf_counter() - start)


def asks(way: Way) -> float:
    """Return how many are answered in a second, one after another."""
    ask = way.ask
    start = time.perf_counter()
    for number in range(ASKS):
        ask(number)
    return ASKS / (time.perf_counter() - start)


def recovery() -> list[float]:
    """Return seconds from a crash to the answer of the next life, without a backoff."""
    backoff = Backoff(initial=0.0, maximum=0.0)
    spec = ChildSpec("plain", lambda _context: Plain())
    tree = Supervisor([spec], backoff=backoff, intensity=CRASHES, period=3600.0)
    tree.start()
    ref, times = tree.directory.ref("plain"), []
    for _ in range(CRASHES):
        start = time.perf_counter()
        ref.tell(RuntimeError())
        ref.ask(None)
        times.append(time.perf_counter() - start)
    tree.stop()
    return times


def population() -> tuple[float, float]:
    """Return seconds to start and to stop many children."""
    specs = [ChildSpec(str(number), lambda _context: Plain()) for number in range(CHILDREN)]
    tree = Supervisor(specs)
    start = time.perf_counter()
    tree.start()
    up = time.perf_counter()
    left = tree.stop()
    if left:
        raise RuntimeError(f"{len(left)} children did not stop")
    return up - start, time.perf_counter() - up


class Figures(NamedTuple):
    """What was measured: rates by way, the first of them pykka's own; seconds."""

    tells: dict[str, list[float]]
    asks: dict[str, list[float]]
    recovery: list[float]
    started: float
    stopped: float


def measure(rounds: int = ROUNDS) -> Figures:
    """Measure all of it."""
    bare = Plain.start()
    tree = Supervisor(
        [
            ChildSpec("plain", lambda _context: Plain(), mailbox=2 * MESSAGES),
            ChildSpec("rich", Rich, mailbox=2 * MESSAGES),
        ]
    )
    tree.start()
    ref, directory = tree.directory.ref("plain"), tree.directory
    ways = [
        Way("pykka alone", bare.tell, bare.ask),
        Way("plain actor, stable ref", ref.tell, ref.ask),
        Way("BaseActor, by id", lambda m: directory.send("rich", m), lambda m: directory.ask("rich", m, 30)),
    ]
    rates: list[dict[str, list[float]]] = []
    for of in (tells, asks):
        rates.append({way.name: [] for way in ways})
        for _ in range(rounds):
            for way in ways:
                rates[-1][way.name].append(of(way))
    tree.stop()
    bare.stop()
    return Figures(rates[0], rates[1], recovery(), *population())


def main() -> None:
    """Print a table."""
    figures = measure()
    for what, rates in (("tells", figures.tells), ("asks", figures.asks)):
        base = statistics.median(rates["pykka alone"])
        for name, rate in rates.items():
            median = statistics.median(rate)
            print(f"{what + ', ' + name:<40} {median:>9,.0f} /s  {median / base:.2f} ×")
    print(f"{'crash to serving again, no backoff':<40} {1000 * statistics.median(figures.recovery):>9.2f} ms")
    print(f"{f'{CHILDREN:,} children started':<40} {figures.started:>9.2f} s")
    print(f"{f'{CHILDREN:,} children stopped':<40} {figures.stopped:>9.2f} s")


if __name__ == "__main__":
    main()
