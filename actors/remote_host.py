"""Owns the connection to the remote: makes it, makes it again when it is lost, opens streams over it for others."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING

from actors.messages import (
    BorrowConnection,
    Connected,
    ConnectFailed,
    ConnectionBroken,
    LeaseChanged,
    LinkUp,
    Log,
    NetworkChanged,
    OpenStream,
    Prepared,
    Problem,
    ReportState,
    Retry,
    SessionChanged,
    SessionFileWritten,
    UpdateRecord,
)
from actors.supervision import Attempts, Backoff, BaseActor
from nssh.base.errors import ConnectError, RemoteError
from nssh.launch import prepare_remote
from nssh.ssh import control_connection
from nssh.ssh.connect import connect
from nssh.ssh.script import exchange
from nssh.state import remembered_hosts, topics
from nssh.wire import files, session_file

if TYPE_CHECKING:
    from actors.supervision import Context
    from nssh.launch.session_info import SessionInfo
    from nssh.ssh.connection import Channel, Connection

# Seconds for one attempt to connect, in which several ways are tried.
_CONNECT = 30.0
# Seconds for the first login: the user may be looking for a password or a second factor.
_FIRST_LOGIN = 600.0
_OPEN = 15.0
# The wait between two attempts to connect.
_BACKOFF = Backoff(initial=0.2, maximum=30.0)


class RemoteHost(BaseActor):
    """Owns the connection to the remote, and prepares the remote over it.

    An attempt to connect runs on a thread of its own, so that this actor always answers.
    """

    expected = (ConnectError,)

    def __init__(self, context: Context, session: SessionInfo) -> None:
        super().__init__(context)
        self._session = session
        self._connection: Connection | None = None
        self._connecting = False
        self._reason = "not connected yet"
        self._attempts = Attempts(_BACKOFF, random.random)
        self._stopping = threading.Event()
        # Whether the user's login may still be under way. After a restart of the actor or the bridge it is over, and
        # its control socket is there or gone.
        self._awaits_login = session.restarts == 0 and context.generation == 1
        # Whether a session file that was written before this incarnation spares preparing the remote again.
        self._trusts_preparation = not self._awaits_login
        # Whether the launcher wrote the remote's session file. A newer topic may have come since: look once.
        self._launcher_wrote = self._awaits_login and session.login_first
        # Whether the remote's event log has been told of the session. An incarnation before this one has told it.
        self._logged = not self._awaits_login
        # Whether this session acts, and whether the attempt to connect under way began before it did.
        self._leads = self._outdated = False
        # A connection that was made, and that the actor has not taken over yet.
        self._offered: Connection | None = None

    def started(self) -> None:
        """Connect, unless the launcher is still preparing the remote in its login."""
        if self._session.prepared or not self._session.login_first:
            self._connect()
        self.send("session_registry", ReportState(self.context.id))

    def handle(self, message: object) -> object:
        """Answer requests for streams and for the connection; take news of the connection."""
        match message:
            case OpenStream(command):
                return self._open(command)
            case BorrowConnection():
                return self._present_connection()
            case LeaseChanged(held):
                self._leads = held
                self._promise()
                return None
            case _:
                self._take_news(message)
                return None

    def _take_news(self, message: object) -> None:
        match message:
            case ReportState(to):
                self._report(to)
            case SessionChanged(session):
                self._session = session
                self._tell_written()
                if session.prepared and self._connection is None:
                    self._connect()
                self._promise()
            case NetworkChanged():
                self._drop("the network changed")
                self._attempts.reset()
                self._connect()
            case ConnectionBroken(connection):
                if connection is self._connection:
                    self._drop("it does not answer")
                    self._connect()
            case Connected(connection):
                self._adopt(connection)
            case Prepared(version, problem):
                self._note_prepared(version)
                self.send("session_registry", Problem("remote", problem))
            case ConnectFailed(reason):
                self._connecting = False
                self._reason = reason
                self.send("log_writer", Log("connect-failed", {"err": reason}))
                self.after(self._attempts.next_delay(), Retry())
            case Retry():
                if self._connection is None:
                    self._connect()

    def stopped(self) -> None:
        """Close the connection. The ssh master stays: it belongs to the session, not to this actor."""
        self._stopping.set()
        self._drop("stopped")
        if self._offered is not None:
            self._offered.close()

    def _adopt(self, connection: Connection) -> None:
        self._connecting = False
        self._connection, self._offered = connection, None
        self._attempts.reset()
        self._report("session_registry")
        self._report("subscriber")
        if self._outdated:
            self._promise()

    def _promise(self) -> None:
        """Write the session file anew if this session acts in place of the Go program: it can do more than that one."""
        if self._leads and self._session.leader_file:
            self._session = self._session._replace(session_file=self._session.leader_file, prepared=False)
            self._outdated = self._connecting
            self._drop("the session file changes")
            self._connect()

    def _note_prepared(self, version: str) -> None:
        if not self._session.prepared:  # otherwise the launcher has told a newer version
            self._session = self._session._replace(prepared=True)
            self.send("session_registry", UpdateRecord({"version": version}))
        self._tell_written()

    def _report(self, to: str) -> None:
        if to == "subscriber":
            self._tell_written()
        if self._connection is not None:
            route = UpdateRecord({"route": self._connection.name})
            self.send(to, LinkUp() if to == "subscriber" else route)

    def _tell_written(self) -> None:
        if self._session.prepared and _is_prepared(self._session):
            self.send("subscriber", SessionFileWritten())

    def _present_connection(self) -> Connection:
        if self._connection is None:
            raise ConnectError(f"{self._session.target.destination}: {self._reason}", "closed")
        return self._connection

    def _open(self, command: str) -> Channel:
        connection = self._present_connection()
        self.busy(_OPEN + 5)
        try:
            return connection.open_stream(command, timeout=_OPEN)
        except ConnectError as error:
            self._drop(str(error))
            self._connect()
            raise

    def _drop(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        self._reason = reason
        if connection is not None:
            connection.close()

    def _connect(self) -> None:
        if not self._connecting:
            self._connecting = True
            self.spawn_reader(self._try_to_connect, "connect", close=self._stopping.set)

    # --- On the connecting thread -------------------------------------------------------------------------------------

    def _try_to_connect(self) -> None:
        session = self._session
        handed_over: Connection | None = None
        try:
            connection = self._reach(session)
            if connection is None:
                return
            if not session.prepared and self._trusts_preparation and _is_prepared(session):
                if not self._hand_over(connection):
                    return
                handed_over = connection
            if not session.prepared:
                self._prepare(session, connection)
            elif self._launcher_wrote:
                self._write_newest_topic(session, connection)
                self._launcher_wrote = False
        except (ConnectError, RemoteError) as error:
            if handed_over is None:
                self.post(ConnectFailed(str(error)))
            else:
                self._trusts_preparation = False
                self.post(ConnectionBroken(handed_over))
            return
        if handed_over is None:
            self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> bool:
        """Give a connection to the actor; if the actor has stopped meanwhile, close it and return False."""
        self._offered = connection
        if self.post(Connected(connection)):
            return True
        connection.close()
        return False

    def _reach(self, session: SessionInfo) -> Connection | None:
        path = session.control_path or None
        if path and self._awaits_login:
            # The user is logging in. That login becomes the connection, so that no second password is asked for (G5).
            self._awaits_login = False
            if (
                not control_connection.wait_for_socket(path, time.monotonic() + _FIRST_LOGIN, self._stopping)
                and self._stopping.is_set()
            ):
                return None
        remember = os.path.join(files.state_dir(), "routes.json")
        connection = connect(session.target, control_path=path, deadline=time.monotonic() + _CONNECT, remember=remember)
        if connection.name == "control":
            try:
                # An ssh master may answer although its link is dead: mosh has roamed, or the laptop has slept.
                connection.run("exit 0", timeout=5.0)
            except ConnectError:
                connection.close()
                connection = connect(
                    session.target, control_path=None, deadline=time.monotonic() + _CONNECT, remember=remember
                )
        return connection

    def _prepare(self, session: SessionInfo, connection: Connection) -> None:
        # The session file must name the newest topic, in whichever order the sessions prepare the remote.
        superseded = topics.newest(session.topic, session.ledger) != session.topic
        opened = "" if self._logged else prepare_remote.session_open(session.server, session.target.destination)
        script = prepare_remote.script("" if superseded else session.session_file, opened=opened)
        answer, _ = exchange(connection, script, _CONNECT)
        self._logged = True
        prepared = prepare_remote.read(answer)
        destination = session.target.destination
        problem = prepared.problem
        if not problem and prepared.go_shims:
            own = session_file.parse(session.session_file)
            problem = remembered_hosts.go_shims_problem(destination, own.server, credentials=bool(own.token))
        elif not problem and not prepared.version:
            problem = f"no nssh on {destination}: run nssh infect {destination}"
        elif not problem:
            problem = remembered_hosts.difference(destination, prepared.version)
        seen: dict[str, str | bool] = {"version": prepared.version, "go_shims": prepared.go_shims}
        if superseded:
            self._remember(session.key, **seen)
        else:
            written = "" if prepared.problem else remembered_hosts.checksum(session.session_file)
            self._remember(session.key, **seen, session=written)
            self._write_newest_topic(session, connection)
        self.post(Prepared(prepared.version, problem))

    def _write_newest_topic(self, session: SessionInfo, connection: Connection) -> None:
        """Write the session file again if another session took a newer topic while this session's file was written.

        A login takes as long as its user needs for a password, so a session with an older topic may write last. Every
        session looks again after it has written; so the last file written names the newest topic.
        """
        written = session.topic
        while (newest := topics.newest(session.topic, session.ledger)) != written:
            theirs = session_file.parse(session.session_file)
            theirs.topic = written = newest
            text = session_file.render(theirs)
            exchange(connection, prepare_remote.script(text), _CONNECT)
            self._remember(session.key, session=remembered_hosts.checksum(text))

    def _remember(self, key: str, **news: str | bool) -> None:
        try:
            remembered_hosts.write(key, remembered_hosts.read(key)._replace(**news))  # type: ignore[arg-type]  # its fields
        except OSError as error:
            self.send("log_writer", Log("record-failed", {"err": error.strerror or type(error).__name__}))


def _is_prepared(session: SessionInfo) -> bool:
    """Return whether this laptop last wrote this very session file; another laptop may have replaced it since."""
    return remembered_hosts.read(session.key).session == remembered_hosts.checksum(session.session_file)
