"""`[sweep] on_connect`: once a session is up, ends the mosh-servers on its host that were forgotten long ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import Lend, Log, LookForConnection, SweepNews
from actors.supervision import AskError, BaseActor
from nssh.base.errors import ConnectError, RemoteError
from nssh.base.printable import LONGEST, printable
from nssh.sweep import connect_host, own_mosh, server_choice
from nssh.sweep.child_messages import Failed, Judged
from nssh.sweep.run_scripts import ScriptRunner
from nssh.sweep.sweep_options import SweepOptions

if TYPE_CHECKING:
    from actors.supervision import Context
    from nssh.launch.session_info import SessionInfo
    from nssh.ssh.connection import Connection
    from nssh.sweep.end_servers import SweepVerdict

# Seconds: first the session, then the sweep; and as long again while there is no connection.
_PAUSE = 5.0
_LEND = 2.0
_TIMEOUT = 20.0


class ConnectSweeper(BaseActor):
    """Sweeps once, quietly, over the session's own connection; what it does and what fails is only logged."""

    def __init__(self, context: Context, session: SessionInfo, age: float) -> None:
        """Take a session.

        Args:
            context: See `BaseActor`.
            session: The session.
            age: Seconds that a server must have been forgotten for.
        """
        super().__init__(context)
        self._session = session
        self._age = age

    def started(self) -> None:
        """Wait a moment; neither a later life nor a restarted bridge begins again."""
        if self.context.generation == 1 and not self._session.restarts:
            self.after(_PAUSE, LookForConnection())

    def handle(self, message: object) -> None:
        """Begin when there is a connection; log what comes of it."""
        match message:
            case LookForConnection():
                try:
                    connection: Connection = self.ask("remote_host", Lend(), _LEND)
                except (ConnectError, AskError):
                    self.after(_PAUSE, LookForConnection())
                    return
                remote = ScriptRunner(connection)
                self.spawn_reader(lambda: self._sweep(remote), "sweep", close=remote.close)
            case SweepNews(Judged(_, verdict)):
                self.send("log_writer", Log("sweep-fate", {"server": verdict.pid, "fate": verdict.fate.value}))
            case SweepNews(Failed(_, reason)):
                self.send("log_writer", Log("sweep-failed", {"err": reason}))

    # On a thread of its own.

    def _sweep(self, remote: ScriptRunner) -> None:
        options = SweepOptions(hosts=())
        try:
            listing = connect_host.resolved(remote.servers(_TIMEOUT), self._session.target)
            ours = own_mosh.look()
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
