"""Sweeps one host: connects, lists its mosh-servers, and ends the chosen ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from actors.messages import BeginSweep, EndServers, Log, SweepExpired, SweepNews
from actors.supervision import BaseActor
from nssh.base.errors import ConnectError, RemoteError
from nssh.base.printable import LONGEST, printable
from nssh.sweep import connect_host
from nssh.sweep.child_messages import Failed, Finished, Judged, Listed
from nssh.sweep.run_scripts import ScriptRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.supervision import Context
    from nssh.mosh.end_servers import EndMethod, SweepVerdict
    from nssh.mosh.mosh_servers import MoshServer
    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target
    from nssh.sweep.child_messages import News

# Incarnations of a sweeper: a host that made it crash twice would do so again.
_LIVES = 2
# Seconds without use after which the connection is checked before it is used again.
_FRESH = 10.0
# Seconds beyond the user's limit, for steps without a deadline of their own, such as looking up a name.
_SLACK = 1.0


class Sweep:
    """The progress of one host's sweep; kept outside the actor, so that its next incarnation goes on from there."""

    def __init__(self, number: int, target: Target, timeout: float, tell: Callable[[News], object]) -> None:
        """Begin with nothing done.

        Args:
            number: Identifies the host in the news sent to the foreground.
            target: The host.
            timeout: Seconds for connecting and listing.
            tell: Called with each piece of news, on the actor's thread; must not block.
        """
        self.number = number
        self.target = target
        self.timeout = timeout
        self.tell = tell
        self.listed = False
        self.chosen: tuple[tuple[MoshServer, EndMethod], ...] | None = None
        self.judged: set[int] = set()
        self.over = False

    @property
    def left(self) -> tuple[tuple[MoshServer, EndMethod], ...]:
        """The chosen servers whose fate is not known yet, each with the way to end it."""
        return tuple(choice for choice in self.chosen or () if choice[0].pid not in self.judged)


class RemoteSweeper(BaseActor):
    """Sweeps one host, once. All network operations run on a thread of its own."""

    def __init__(self, context: Context, sweep: Sweep) -> None:
        super().__init__(context)
        self._sweep = sweep
        self._connection: Connection | None = None
        self._used_at = 0.0

    def started(self) -> None:
        """Go on where the incarnation before ended; the first one waits for `BeginSweep`."""
        # A sweeper that failed while the tree still starts would end the tree, and with it all other sweeps.
        if self.context.generation > 1:
            self._begin()

    def _begin(self) -> None:
        sweep = self._sweep
        if sweep.over:
            return
        if self.context.generation > _LIVES:
            self._report(Failed(sweep.number, f"{sweep.target.destination}: sweeping it failed; the log says why"))
        elif sweep.chosen is not None:
            self._spawn(self._end)
        elif not sweep.listed:
            self.after(sweep.timeout + _SLACK, SweepExpired())
            self._spawn(self._look)

    def handle(self, message: object) -> None:
        """Take an order, or what the sweep's thread found out."""
        sweep = self._sweep
        match message:
            case BeginSweep():
                if self.context.generation == 1:
                    self._begin()
            case EndServers(chosen):
                if sweep.listed and sweep.chosen is None and not sweep.over:
                    sweep.chosen = chosen
                    self._spawn(self._end)
            case SweepNews(news):
                self._report(news)
            case SweepExpired():
                if not sweep.listed:
                    self._report(Failed(sweep.number, f"{sweep.target.destination}: no answer in {sweep.timeout:g} s"))
                    self._close()

    def stopped(self) -> None:
        """Close the connection."""
        self._close()

    def _report(self, news: News) -> None:
        """Log and pass on a piece of news, unless the incarnation before did."""
        sweep = self._sweep
        if sweep.over:
            return
        fields: dict[str, object] = {"host": sweep.target.destination}
        match news:
            case Listed(_, listing):
                if sweep.listed:
                    return
                sweep.listed = True
                self.send("log_writer", Log("sweep-listed", fields | {"servers": len(listing.servers)}))
            case Judged(_, verdict):
                if verdict.pid in sweep.judged:
                    return
                sweep.judged.add(verdict.pid)
                fields |= {"server": verdict.pid, "fate": verdict.fate.value}
                self.send("log_writer", Log("sweep-fate", fields))
            case Finished():
                sweep.over = True
            case Failed(_, reason):
                sweep.over = True
                self.send("log_writer", Log("sweep-failed", fields | {"err": reason}))
        sweep.tell(news)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _spawn(self, work: Callable[[], None]) -> None:
        self.spawn_reader(lambda: self._run_reporting_errors(work), "sweep", close=self._close)

    # --- On the sweep's thread ----------------------------------------------------------------------------------------

    def _run_reporting_errors(self, work: Callable[[], None]) -> None:
        where = self._sweep.target.destination
        try:
            work()
        except (ConnectError, RemoteError) as error:
            # The text may come from the remote, so it is made printable; some texts begin with the host already.
            text = printable(str(error), LONGEST).removeprefix(f"{where}: ")
            self.post(SweepNews(Failed(self._sweep.number, f"{where}: {text}")))

    def _look(self) -> None:
        sweep = self._sweep
        deadline = time.monotonic() + sweep.timeout
        connection = self._connect(deadline)
        listing = ScriptRunner(connection).servers(max(deadline - time.monotonic(), 0.1))
        self._used_at = time.monotonic()
        self.post(SweepNews(Listed(sweep.number, connect_host.resolved(listing, sweep.target))))

    def _end(self) -> None:
        sweep = self._sweep

        def on_verdict(verdict: SweepVerdict) -> None:
            self.post(SweepNews(Judged(sweep.number, verdict)))

        connection = self._connection
        # The user may have taken a long time to choose.
        if connection is None or (time.monotonic() - self._used_at > _FRESH and not connection.alive()):
            self._close()
            connection = self._connect(time.monotonic() + sweep.timeout)
        ScriptRunner(connection).end(sweep.left, sweep.timeout, on_verdict)
        self.post(SweepNews(Finished(sweep.number)))

    def _connect(self, deadline: float) -> Connection:
        connection = self._connection = connect_host.reach(self._sweep.target, deadline)
        return connection
