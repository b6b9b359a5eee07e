"""The process behind `nssh sweep`: one supervised sweeper for each host.

The foreground program writes its orders to this process's stdin, and reads news from its stdout. The process ends when
its stdin does, so that no sweep goes on after the user's program has ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import psutil

# Imported here, not where it is used: the foreground still asks ssh for the hosts' addresses, so this time is free.
import nssh.ssh.paramiko_connection  # noqa: F401
from actors.log_writer import LogWriter
from actors.messages import BeginSweep, EndServers, Log
from actors.remote_sweeper import RemoteSweeper, Sweep
from actors.supervision import ChildSpec, Event, EventKind, Outcome, Restart, StartError, Supervisor
from actors.supervision.debug import dump_stacks
from nssh.sweep import child_messages
from nssh.sweep.child_messages import End, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nssh.sweep.child_messages import News, Order

# Seconds for the tree to stop: the sweepers close their connections.
_STOP = 1.5


class SweepTree:
    """The supervised actors of one sweep."""

    def __init__(self, job: Job, tell: Callable[[News], object]) -> None:
        sweeps = [Sweep(number, target, job.timeout, tell) for number, target in enumerate(job.targets)]
        specs = [ChildSpec("log_writer", lambda context: LogWriter(context, job.log, job.keep))]
        specs += [_spec(sweep) for sweep in sweeps]
        # A host may crash its sweeper twice before the sweeper gives it up; that must not end the other hosts' sweeps.
        intensity = 5 + 2 * len(sweeps)
        self._sweepers = [_name(sweep.number) for sweep in sweeps]
        self.supervisor = Supervisor(
            specs, intensity=intensity, period=10.0 * intensity, abandonments=len(specs), on_event=self._on_event
        )

    def start(self) -> None:
        """Start all actors, then have the sweepers begin. Raises what `Supervisor.start` raises."""
        self.supervisor.start()
        for sweeper in self._sweepers:
            self.supervisor.directory.send(sweeper, BeginSweep())

    def end(self, order: End) -> None:
        """Have a host's sweeper end the chosen mosh-servers."""
        self.supervisor.directory.send(_name(order.host), EndServers(order.chosen))

    def _on_event(self, event: Event) -> None:
        kinds = {EventKind.RESTARTING: "actor-restart", EventKind.ABANDONED: "actor-abandoned",
                 EventKind.DROPPED: "actor-dropped", EventKind.ESCALATED: "supervisor-escalate"}  # fmt: skip
        if event.kind in kinds:
            fields: dict[str, object] = {"actor": event.id, "err": event.error, "trace": event.trace}
            self.supervisor.directory.send("log_writer", Log(kinds[event.kind], fields))


def _name(number: int) -> str:
    return f"remote_sweeper-{number}"


def _spec(sweep: Sweep) -> ChildSpec:
    return ChildSpec(
        _name(sweep.number),
        lambda context: RemoteSweeper(context, sweep),
        restart=Restart.TRANSIENT,
        shutdown=1.0,
    )


def _orders(fd: int) -> Iterator[Order | News]:
    lines = child_messages.MessageSplitter()
    while data := os.read(fd, 1 << 16):
        yield from lines.feed(data)


def main() -> int:
    """Run the process and return its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(threadName)s %(name)s: %(message)s")
    for name in ("SIGINT", "SIGHUP", "SIGTSTP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: dump_stacks(sys.stderr))
    orders = _orders(0)
    job = next(orders, None)
    if not isinstance(job, Job):
        return 0
    # News goes to a copy of stdout, and stdout to stderr: what a library prints must not be taken for news.
    output = os.dup(1)
    os.dup2(2, 1)
    told = threading.Lock()

    def tell(news: News) -> None:
        with told, contextlib.suppress(BrokenPipeError):
            rest = child_messages.encode(news)
            while rest:
                rest = rest[os.write(output, rest) :]

    tree = SweepTree(job, tell)
    supervisor = tree.supervisor
    signal.signal(signal.SIGTERM, lambda *_: supervisor.request_stop(timeout=_STOP))

    def listen() -> None:
        try:
            for order in orders:
                if isinstance(order, End):
                    tree.end(order)
        finally:
            supervisor.request_stop(timeout=_STOP)

    threading.Thread(target=listen, name="orders", daemon=True).start()
    try:
        tree.start()
    except StartError as error:
        print(f"nssh: the sweep did not start: {error}: {error.__cause__}", file=sys.stderr)
    outcome = supervisor.wait()
    if outcome is Outcome.ESCALATED:
        print(f"nssh: the sweep gives up: {supervisor.escalation}", file=sys.stderr)
    _end_children()
    return 0 if outcome is Outcome.STOPPED else 1


def _end_children() -> None:
    """Kill every ssh that is still connecting."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Not by `sys.exit`, which would wait for threads that wait for the network.
    os._exit(status)
