"""The tree of the bridge process: its children, what each is made with, and the order in which they start."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import psutil

from actors.arrivals import WORKERS
from actors.clipboard import Clipboard
from actors.connect_sweeper import ConnectSweeper
from actors.liveness_responder import LivenessResponder
from actors.log_writer import LogWriter
from actors.messages import Log, OpenStream, Redeliver, SessionChanged, UpdateRecord
from actors.oauth_proxy import OAuthProxy, Ports
from actors.outbox import Outbox
from actors.publisher import Publisher
from actors.remote_host import RemoteHost
from actors.session_registry import SessionRegistry
from actors.subscriber import Subscriber, drift
from actors.supervision import AskError, ChildSpec, Event, EventKind, Strategy, Supervisor
from actors.url_opener import UrlOpener
from nssh.base.errors import ConnectError, NsshError
from nssh.bus.client import BusClient
from nssh.bus.feed import LastHeard
from nssh.bus.ledger import Ledger
from nssh.local.clipboard import MemoryClipboard
from nssh.ssh.marked_stream import MarkedStream, new_mark
from nssh.ssh.remote_command import remote_command
from nssh.state import topics
from nssh.state.lease_waiter import AwaitedLease
from nssh.state.session_records import directory as records_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.config.settings import Config
    from nssh.launch.session_info import SessionInfo
    from nssh.ssh.connection import ByteStream
    from nssh.state.session_records import Record

# Seconds that a dial of the relay may take: the deadline for opening a stream, and the wait in the mailbox.
_DIAL = 20.0

# Messages in the log writer's mailbox: a backlog of the bus brings thousands at once.
_LINES = 20_000


class Tree:
    """The supervised actors of one session, and the objects that survive restarts of the actors."""

    def __init__(
        self,
        session: SessionInfo,
        config: Config,
        *,
        drift: Callable[[], float] = drift,
        **supervision: Any,
    ) -> None:
        """Make the tree; `supervisor.start` starts it.

        Args:
            session: The session's state; later states go to `tell`.
            config: The user's configuration.
            drift: See `actors.subscriber.drift`.
            supervision: Further arguments of the `Supervisor`, such as its clock and limits.
        """
        self._session = session
        self._config = config
        self._lease = AwaitedLease(session.lease)
        self._ledger = Ledger(session.ledger)
        self._heard = LastHeard(session.bus_heard)
        self._restarts = 0
        self._outbox = outbox = Outbox()
        memory = MemoryClipboard()
        ports = Ports()
        callbacks_path = topics.beside(session.ledger, "callbacks")
        held_path = topics.beside(session.ledger, "held")
        socket_path = os.path.join(records_directory(), f"{session.pid}.sock")
        browser = config.browser.command or None
        # `start` is called for every incarnation, and uses the session and the record as they are at that time.
        specs = [
            ChildSpec("log_writer", lambda context: LogWriter(context, session.log, config.log.keep), mailbox=_LINES),
            ChildSpec(
                "session_registry",
                lambda context: SessionRegistry(
                    context, self._record(), self._lease, joined=session.joined, behind=session.behind
                ),
            ),
            ChildSpec("remote_host", lambda context: RemoteHost(context, self._session), shutdown=2.0),
            ChildSpec("publisher", lambda context: Publisher(context, self._client(), session.topic, outbox)),
            ChildSpec(
                "liveness_responder",
                lambda context: LivenessResponder(context, self._ledger, socket_path, outbox, lambda: self._lease.held),
            ),
            ChildSpec(
                "clipboard",
                lambda context: Clipboard(
                    context, self._ledger, self._client(), memory, outbox, config=config.clipboard
                ),
            ),
            ChildSpec(
                "oauth_proxy",
                lambda context: OAuthProxy(context, callbacks_path, session.target.destination, ports),
            ),
            ChildSpec("url_opener", lambda context: UrlOpener(context, self._ledger, held_path, browser), health=20.0),
            ChildSpec(
                "subscriber",
                lambda context: Subscriber(
                    context, self._client(), session, self._ledger, heard=self._heard, drift=drift
                ),
                shutdown=2.0,
            ),
        ]
        if (age := config.sweep.on_connect) is not None:
            specs.append(ChildSpec("connect_sweeper", lambda context: ConnectSweeper(context, session, age)))
        # Actors address one another by id, so one that fails is restarted alone.
        self.supervisor = Supervisor(
            specs,
            strategy=Strategy.ONE_FOR_ONE,
            on_event=self._on_event,
            **supervision,
        )

    def tell(self, session: SessionInfo) -> None:
        """Take a new state of the session, pass it on, and keep it for actors that restart later. Any thread."""
        self._session = session
        for to in ("session_registry", "remote_host"):
            self.supervisor.directory.send(to, SessionChanged(session))

    def _client(self) -> BusClient:
        config = self._config
        if self._session.server == "relay":
            return BusClient(f"the relay on {self._session.target.destination}", dial=self._dialler())
        return BusClient(
            self._session.server, token=config.token or "", user=config.user or "", password=config.password or ""
        )

    def _dialler(self) -> Callable[[], ByteStream]:
        where = self._session.target.destination

        def dial() -> ByteStream:
            mark = new_mark()
            command = remote_command("relay", "dial", "--mark", mark)
            try:
                stream: ByteStream = self.supervisor.directory.ask("remote_host", OpenStream(command), _DIAL)
            except NsshError:
                raise
            except AskError as error:
                raise ConnectError(f"{where}: {error}", "closed") from None
            except Exception:  # noqa: BLE001 - a crash of the remote host, which is reported there; the asker goes on
                raise ConnectError(f"{where}: the connection's owner failed and is restarted", "closed") from None
            return MarkedStream(stream, mark)

        return dial

    def _on_event(self, event: Event) -> None:
        """Log what the supervisor did; have a restarted worker's unfinished message handed out again."""
        directory = self.supervisor.directory
        if event.kind is EventKind.RESTARTING:
            self._restarts += 1
            fields: dict[str, object] = {"actor": event.id, "err": event.error, "restarts": event.restarts}
            if event.trace:
                fields["trace"] = event.trace
            directory.send("log_writer", Log("actor-restart", fields))
            directory.send("session_registry", UpdateRecord({"actor_restarts": self._restarts}))
        elif event.kind is EventKind.STARTED and event.generation > 1 and event.id in WORKERS.values():
            directory.send("subscriber", Redeliver(event.id))
        elif event.kind in {EventKind.ABANDONED, EventKind.DROPPED}:
            directory.send("log_writer", Log(f"actor-{event.kind.value}", {"actor": event.id, "err": event.error}))
        elif event.kind is EventKind.ESCALATED:
            directory.send("log_writer", Log("supervisor-escalate", {"actor": event.id, "err": event.error}))

    def _record(self) -> Record:
        """Return the record to begin with; the actors report the rest to the registry."""
        session = self._session
        try:
            created = psutil.Process(session.pid).create_time()
        except psutil.NoSuchProcess:
            created = time.time()
        return session.record._replace(create_time=created, bridge=os.getpid(), actor_restarts=self._restarts)
