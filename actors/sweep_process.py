"""The process behind `nssh sweep`: a supervised sweeper for each host, told what to do on stdin, answering on stdout.

It ends when its stdin does, so nothing goes on without the program that the user started.
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

# Imported before there is anything to do with it: meanwhile nssh asks ssh who the hosts are.
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

# Seconds for all to close their connections.
_STOP = 1.5


class SweepTree:
    """The supervised actors of one sweep."""

    def __init__(self, job: Job, tell: Callable[[News], object]) -> None:
        sweeps = [Sweep(number, target, job.timeout, tell) for number, target in enumerate(job.targets)]
        specs = [ChildSpec("log_writer", lambda context: LogWriter(context, job.log, job.keep))]
        specs += [_spec(sweep) for sweep in sweeps]
        # Each host may crash its sweeper twice before that gives it up; the other hosts must not suffer.
        intensity = 5 + 2 * len(sweeps)
        self._sweepers = [_name(sweep.number) for sweep in sweeps]
        self.supervisor = Supervisor(
            specs, intensity=intensity, period=10.0 * intensity, abandonments=len(specs), on_event=self._on_event
        )

    def start(self) -> None:
        """Start all, then let them begin; raises as `Supervisor.start`."""
        self.supervisor.start()
        for sweeper in self._sweepers:
            self.supervisor.directory.send(sweeper, BeginSweep())

    def end(self, order: End) -> None:
        """Pass on whom to end."""
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
    """Run the process; returns its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(threadName)s %(name)s: %(message)s")
    for name in ("SIGINT", "SIGHUP", "SIGTSTP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: dump_stacks(sys.stderr))
    orders = _orders(0)
    job = next(orders, None)
    if not isinstance(job, Job):
        return 0
    # Whoever prints by mistake must not be taken for an answer.
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
    """End every ssh that is still on its way to somewhere."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Threads that still wait for the network would be waited for.
    os._exit(status)
