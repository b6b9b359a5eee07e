"""The tree of the bridge process: who its children are, what they are given, and in which order they start."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import psutil

from actors.clipboard import Clipboard
from actors.liveness_responder import LivenessResponder
from actors.log_writer import LogWriter
from actors.messages import Event, EventKind, Log, OpenStream, Redeliver, Update
from actors.publisher import Publisher
from actors.remote_host import RemoteHost
from actors.session_registry import SessionRegistry
from actors.spec import ChildSpec, Strategy
from actors.subscriber import Subscriber
from actors.supervisor import Supervisor
from actors.url_opener import UrlOpener
from nssh.bus.client import BusClient
from nssh.bus.ledger import Ledger
from nssh.lease import Lease
from nssh.local.clipboard import MemoryClipboard
from nssh.records import Record
from nssh.records import directory as records_directory
from nssh.remote_command import remote_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.config import Config
    from nssh.session import Session
    from nssh.ssh.connection import ByteStream

# Seconds a dial may take: a connection's own deadline for opening a stream, and the way through the mailbox.
_DIAL = 20.0


class Tree:
    """The supervised actors of one session, and what outlives a restart of any of them."""

    def __init__(self, session: Session, config: Config) -> None:
        self._session = session
        self._config = config
        self._lease = Lease(session.lease)
        self._ledger = Ledger(session.ledger)
        self._restarts = 0
        memory = MemoryClipboard()
        held_path = session.ledger.removesuffix(".ledger") + ".held"
        record = _record(session)
        socket_path = os.path.join(records_directory(), f"{session.pid}.sock")
        browser = config.browser.command or None
        # Everyone resolves peers by id with each message, so one that fails is restarted alone.
        self.supervisor = Supervisor(
            [
                ChildSpec("log_writer", lambda context: LogWriter.start(context, session.log, config.log.keep)),
                ChildSpec("session_registry", lambda context: SessionRegistry.start(context, record, self._lease)),
                ChildSpec("remote_host", lambda context: RemoteHost.start(context, session), shutdown=2.0),
                ChildSpec("publisher", lambda context: Publisher.start(context, self._client(), session.topic)),
                ChildSpec("liveness_responder", lambda context: LivenessResponder.start(context, socket_path)),
                ChildSpec("clipboard", lambda context: Clipboard.start(context, self._client(), memory)),
                ChildSpec(
                    "url_opener",
                    lambda context: UrlOpener.start(context, self._ledger, held_path, browser),
                    health=20.0,
                ),
                ChildSpec(
                    "subscriber",
                    lambda context: Subscriber.start(
                        context, self._client(), session.topic, self._ledger, linked=session.server != "relay"
                    ),
                    shutdown=2.0,
                ),
            ],
            strategy=Strategy.ONE_FOR_ONE,
            on_event=self._on_event,
        )

    def _client(self) -> BusClient:
        config = self._config
        if self._session.server == "relay":
            return BusClient(f"the relay on {self._session.target.destination}", dial=self._dialler())
        return BusClient(
            self._session.server, token=config.token or "", user=config.user or "", password=config.password or ""
        )

    def _dialler(self) -> Callable[[], ByteStream]:
        command = remote_command("relay", "dial")

        def dial() -> ByteStream:
            stream: ByteStream = self.supervisor.directory.ask("remote_host", OpenStream(command), _DIAL)
            return stream

        return dial

    def _on_event(self, event: Event) -> None:
        """Log what the supervisor did; what a restarted actor had not finished is given to it again."""
        directory = self.supervisor.directory
        if event.kind is EventKind.RESTARTING:
            self._restarts += 1
            fields: dict[str, object] = {"actor": event.id, "err": event.error, "restarts": event.restarts}
            if event.trace:
                fields["trace"] = event.trace
            directory.send("log_writer", Log("actor-restart", fields))
            directory.send("session_registry", Update({"actor_restarts": self._restarts}))
        elif event.kind is EventKind.STARTED and event.generation > 1:
            directory.send("subscriber", Redeliver(event.id))
        elif event.kind in {EventKind.ABANDONED, EventKind.DROPPED}:
            directory.send("log_writer", Log(f"actor-{event.kind.value}", {"actor": event.id, "err": event.error}))
        elif event.kind is EventKind.ESCALATED:
            directory.send("log_writer", Log("supervisor-escalate", {"actor": event.id, "err": event.error}))


def _record(session: Session) -> Record:
    try:
        created = psutil.Process(session.pid).create_time()
    except psutil.NoSuchProcess:
        created = time.time()
    return Record(
        pid=session.pid,
        target=session.target.destination,
        host=session.target.hostname.partition(".")[0],
        topic=session.topic,
        server=session.server,
        started=session.started,
        log=session.log,
        create_time=created,
        birth=session.birth,
        key=session.key,
        transport=session.transport,
        bus="down",
        bus_since=session.started,
        bridge=os.getpid(),
        restarts=session.restarts,
        problem=session.problem,
        version=session.version,
    )
