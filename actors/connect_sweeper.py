"""Implements `[sweep] on_connect`: ends old, detached mosh-servers on the host once the session is up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import BorrowConnection, Log, LookForConnection, SweepNews
from actors.supervision import AskError, BaseActor
from nssh.base.errors import ConnectError, RemoteError
from nssh.base.printable import LONGEST, printable
from nssh.mosh import server_choice
from nssh.sweep import connect_host, own_sessions
from nssh.sweep.child_messages import Failed, Judged
from nssh.sweep.run_scripts import ScriptRunner
from nssh.sweep.sweep_options import SweepOptions

if TYPE_CHECKING:
    from actors.supervision import Context
    from nssh.launch.session_info import SessionInfo
    from nssh.mosh.end_servers import SweepVerdict
    from nssh.ssh.connection import Connection

# Seconds until the sweep begins, so that the session comes first, and between two looks for a connection.
_PAUSE = 5.0
_LEND = 2.0
_TIMEOUT = 20.0


class ConnectSweeper(BaseActor):
    """Sweeps the host once, over the session's own connection. Results and errors go to the log only."""

    def __init__(self, context: Context, session: SessionInfo, age: float) -> None:
        """Keep the parts.

        Args:
            context: See `BaseActor`.
            session: The session whose host is swept.
            age: Seconds that a server must have been without a client.
        """
        super().__init__(context)
        self._session = session
        self._age = age

    def started(self) -> None:
        """Plan the sweep; a restarted actor or bridge does not sweep a second time."""
        if self.context.generation == 1 and not self._session.restarts:
            self.after(_PAUSE, LookForConnection())

    def handle(self, message: object) -> None:
        """Start the sweep once the remote is connected; log its results."""
        match message:
            case LookForConnection():
                try:
                    connection: Connection = self.ask("remote_host", BorrowConnection(), _LEND)
                except (ConnectError, AskError):
                    self.after(_PAUSE, LookForConnection())
                    return
                remote = ScriptRunner(connection)
                self.spawn_reader(lambda: self._sweep(remote), "sweep", close=remote.close)
            case SweepNews(Judged(_, verdict)):
                self.send("log_writer", Log("sweep-fate", {"server": verdict.pid, "fate": verdict.fate.value}))
            case SweepNews(Failed(_, reason)):
                self.send("log_writer", Log("sweep-failed", {"err": reason}))

    # --- On the sweep's thread ----------------------------------------------------------------------------------------

    def _sweep(self, remote: ScriptRunner) -> None:
        options = SweepOptions(hosts=())
        try:
            listing = connect_host.resolved(remote.servers(_TIMEOUT), self._session.target)
            ours = own_sessions.look()
            chosen = [
                (server, server_choice.how(server, unused=True))
                for server in listing.servers
                if server_choice.forgotten(server, self._age)
                and not server_choice.spared(server, listing, self._session.key, ours, options)
            ]
            if chosen:
                remote.end(chosen, _TIMEOUT, self._judged)
        except (ConnectError, RemoteError) as error:
            self.post(SweepNews(Failed(0, printable(str(error), LONGEST))))

    def _judged(self, verdict: SweepVerdict) -> None:
        self.post(SweepNews(Judged(0, verdict)))
