"""Answers whether the session is alive: a `pong` for a `ping` on the topic, and JSON on the control socket.

On the control socket, an empty line asks. The answer is one line of JSON (docs/protocol.md): `alive` is true, with
`rtt`, the seconds of a ping around the bus, or `standby`, for a session without the lease; or `alive` is false, with
`stuck`, the ids of actors that don't answer, or `bus`, if all actors answer and the ping did not come back. The control
socket also takes requests to listen for a login's callbacks, which go on to the OAuth proxy.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from actors.messages import (
    ExpectCallbacks,
    Flush,
    Log,
    Probe,
    ProbeExpired,
    Problem,
    Publish,
    ReportState,
    UpdateRecord,
)
from actors.worker import Worker
from nssh.bus.deliveries import Delivery
from nssh.local.callback_finder import find_callbacks
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.outbox import Outbox
    from actors.supervision import Context
    from nssh.bus.ledger import Ledger
    from nssh.local.callback_finder import Callback

DEADLINE = 1.3
"""Seconds for a ping around the bus; the asking program waits 1.5 in all (guarantee G3, docs/architecture.md)."""
PATIENCE = 1.0
"""Seconds at one message after which an actor counts as stuck, unless it has called `busy`."""

# Seconds at one message up to which an actor counts as prompt. If one is not, the answer waits for the deadline.
_PROMPT = 0.1

_BACKLOG = 8
# Seconds for a client's request, which comes right behind its connection, and its length in bytes. No request within
# the time means the same as an empty line.
_ASKING = 0.05
_LONGEST = 1 << 16
_PONG_WITHIN = 10.0


class _Client(NamedTuple):
    """A client of the control socket that waits for its answer."""

    connection: socket.socket
    since: float
    rtt: float | None = None


class LivenessResponder(Worker):
    """Answers pings of the topic; for a client of the control socket, sends a ping of its own around the bus."""

    def __init__(
        self, context: Context, ledger: Ledger, socket_path: str, outbox: Outbox, leads: Callable[[], bool]
    ) -> None:
        """Keep the parts; `leads` returns whether this session holds the lease. Without it the bus is not followed."""
        super().__init__(context, ledger)
        self._path = socket_path
        self._outbox = outbox
        self._leads = leads
        self._listener: socket.socket | None = None
        self._clients: dict[str, _Client] = {}

    def started(self) -> None:
        """Listen on the control socket: each connection brings one request, and gets one line of JSON."""
        try:
            listener = self._listener = self._listen()
        except OSError as error:
            # The state directory is read-only, say: pings on the topic still get answers, and the session goes on.
            reason = error.strerror or str(error)
            self.send("log_writer", Log("control-failed", {"err": reason}))
            self.send("session_registry", Problem("control", f"no control socket: {reason}"))
            return
        self.spawn_reader(lambda: self._accept(listener), "control", close=lambda: _shut_down(listener))
        self._report()

    def _listen(self) -> socket.socket:
        if os.path.exists(self._path):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            # Between bind and chmod the directory (0700) protects the socket. A umask would also hold for the browsers
            # that other threads start at this moment.
            listener.bind(self._path)
            os.chmod(self._path, 0o600)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def _report(self) -> None:
        if self._listener is not None:
            self.send("session_registry", UpdateRecord({"socket": self._path}))
            self.send("session_registry", Problem("control", ""))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self.actor_stopped.is_set():
                    return
                raise
            connection.settimeout(_ASKING)
            callbacks = _read_request(connection)
            connection.settimeout(1.0)
            if callbacks:
                self.send("oauth_proxy", ExpectCallbacks(callbacks, connection))
            elif not self.post(Probe(connection)):
                connection.close()
                return

    def handle(self, message: Delivery | Probe | ProbeExpired | ReportState) -> None:
        """Answer a ping; begin or end a probe."""
        match message:
            case Probe(connection):
                self._begin_probe(connection)
            case ProbeExpired(probe_id):
                self._reply(probe_id)
            case ReportState():
                self._report()
            case Delivery() if not self.is_repeated(message):
                ping = message.envelope
                if not self._ping_came_back(ping.id) and ping.id:
                    self._publish(wire.KIND_PONG, ping.id, _PONG_WITHIN, message.topic)
                self.finish(message)

    def _publish(self, kind: str, envelope_id: str, within: float, topic: str = "") -> None:
        self._outbox.put(Publish(wire.Envelope(kind, id=envelope_id), time.monotonic() + within, topic=topic))
        self.send("publisher", Flush())

    def _begin_probe(self, connection: socket.socket) -> None:
        """Send a ping around the bus if this session follows it; without the lease answer at once if all are prompt."""
        probe_id = wire.new_id()
        self._clients[probe_id] = _Client(connection, time.monotonic())
        if self._leads():
            self._publish(wire.KIND_PING, probe_id, DEADLINE)
        elif self._is_prompt():
            self._reply(probe_id)
            return
        self.after(DEADLINE, ProbeExpired(probe_id))

    def _is_prompt(self) -> bool:
        return not self.context.directory.unwell(_PROMPT)

    def _ping_came_back(self, ping_id: str) -> bool:
        """Take a ping that came around the bus; return False if another program sent it."""
        client = self._clients.get(ping_id)
        if client is None:
            return False
        self._clients[ping_id] = client._replace(rtt=time.monotonic() - client.since)
        # An actor that is at a message may be done in a moment, or hang: the deadline tells which.
        if self._is_prompt():
            self._reply(ping_id)
        return True

    def _reply(self, probe_id: str) -> None:
        """Answer a probe, unless it has its answer."""
        client = self._clients.pop(probe_id, None)
        if client is None:
            return
        try:
            client.connection.sendall(json.dumps(self._answer(client)).encode() + b"\n")
        except OSError:
            pass  # the client has gone
        finally:
            client.connection.close()

    def _answer(self, client: _Client) -> dict[str, object]:
        stuck = self.context.directory.unwell(PATIENCE)
        if stuck:
            return {"alive": False, "stuck": stuck}
        if client.rtt is not None:
            return {"alive": True, "rtt": round(client.rtt, 4)}
        if not self._leads():
            return {"alive": True, "standby": True}
        return {"alive": False, "bus": "down"}

    def stopped(self) -> None:
        """Remove the socket, and close the connections of all waiting clients."""
        for client in self._clients.values():
            client.connection.close()
        # If this incarnation was abandoned, the next one has its own socket under this name.
        if self._listener is not None and not self.context.abandoned:
            try:
                os.unlink(self._path)
            except OSError:
                pass  # it is gone, or its directory has become read-only


def _read_request(connection: socket.socket) -> tuple[Callback, ...]:
    """Read a client's request; return the callbacks to listen for, none if it asks whether the session is alive."""
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < _LONGEST and (data := connection.recv(_LONGEST)):
            line += data
        url = json.loads(line)["expect"]
        return find_callbacks(url) if isinstance(url, str) else ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _shut_down(listener: socket.socket) -> None:
    try:
        listener.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not every system can shut a listener down; there, closing it wakes `accept`
    listener.close()
