"""Alive means answering: pong for a ping, over the topic and over the session's control socket.

An empty line asks; what is answered is one line of JSON (docs/protocol.md): `alive`, and with it `rtt`, seconds around
the bus, or `standby`; otherwise `stuck`, the actors that would not answer, or `bus`, if it is only the way around that
failed. The other thing to ask for there, that a login's callbacks are listened for, is the OAuth proxy's to answer.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from actors.messages import Expect, Flush, Log, Probe, ProbeExpired, Problem, Publish, Report, Update
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
"""Seconds for a round trip around the bus; whoever asks waits 1.5 in all (guarantee G3, docs/architecture.md)."""
PATIENCE = 1.0
"""Seconds after which an actor that is still at the same message, and has not said why, counts as stuck."""

# Seconds; whoever is at a message for longer is looked at once more, when the time is up.
_PROMPT = 0.1

_BACKLOG = 8
# Seconds for a question, which comes with the connection; silence asks whether we are alive. And its bytes.
_ASKING = 0.05
_LONGEST = 1 << 16
_PONG_WITHIN = 10.0


class _Asked(NamedTuple):
    """A question that came over the control socket."""

    connection: socket.socket
    since: float
    rtt: float | None = None


class LivenessResponder(Worker):
    """Answers pings, and sends one of its own around the bus for whoever asks over the control socket."""

    def __init__(
        self, context: Context, ledger: Ledger, socket_path: str, outbox: Outbox, leads: Callable[[], bool]
    ) -> None:
        """Keep the parts; `leads` tells whether this session holds the lease: a stand-by does not follow the bus."""
        super().__init__(context, ledger)
        self._path = socket_path
        self._outbox = outbox
        self._leads = leads
        self._listener: socket.socket | None = None
        self._asked: dict[str, _Asked] = {}

    def started(self) -> None:
        """Listen on the control socket: one connection, one question, one line of JSON in answer."""
        try:
            listener = self._listener = self._listen()
        except OSError as error:
            # A state directory that can't be changed: the topic still answers, and the session goes on.
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
            # Nobody else gets into its directory (0700); a umask would be the whole process's, browsers included.
            listener.bind(self._path)
            os.chmod(self._path, 0o600)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def _report(self) -> None:
        if self._listener is not None:
            self.send("session_registry", Update({"socket": self._path}))
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
            callbacks = _asked_for(connection)
            connection.settimeout(1.0)
            if callbacks:
                self.send("oauth_proxy", Expect(callbacks, connection))
            elif not self.post(Probe(connection)):
                connection.close()
                return

    def handle(self, message: Delivery | Probe | ProbeExpired | Report) -> None:
        """Answer a ping; begin or end a probe."""
        match message:
            case Probe(connection):
                self._begin(connection)
            case ProbeExpired(probe_id):
                self._reply(probe_id)
            case Report():
                self._report()
            case Delivery() if not self.is_repeated(message):
                ping = message.envelope
                if not self._arrived(ping.id) and ping.id:
                    self._publish(wire.KIND_PONG, ping.id, _PONG_WITHIN)
                self.finish(message)

    def _publish(self, kind: str, envelope_id: str, within: float) -> None:
        self._outbox.put(Publish(wire.Envelope(kind, id=envelope_id), time.monotonic() + within))
        self.send("publisher", Flush())

    def _begin(self, connection: socket.socket) -> None:
        """Send a ping around the bus, if we follow it; what it brings, and who is stuck, is the answer."""
        probe_id = wire.new_id()
        self._asked[probe_id] = _Asked(connection, time.monotonic())
        if self._leads():
            self._publish(wire.KIND_PING, probe_id, DEADLINE)
        elif self._is_prompt():
            self._reply(probe_id)
            return
        self.after(DEADLINE, ProbeExpired(probe_id))

    def _is_prompt(self) -> bool:
        return not self.context.directory.unwell(_PROMPT)

    def _arrived(self, ping_id: str) -> bool:
        """A ping came around the bus; return whether it was one of ours."""
        asked = self._asked.get(ping_id)
        if asked is None:
            return False
        self._asked[ping_id] = asked._replace(rtt=time.monotonic() - asked.since)
        # One that is at something may be done in a moment, or hang: that will be known when the time is up.
        if self._is_prompt():
            self._reply(ping_id)
        return True

    def _reply(self, probe_id: str) -> None:
        """Tell who asked, unless that is done."""
        asked = self._asked.pop(probe_id, None)
        if asked is None:
            return
        try:
            asked.connection.sendall(json.dumps(self._answer(asked)).encode() + b"\n")
        except OSError:
            pass  # whoever asked has gone
        finally:
            asked.connection.close()

    def _answer(self, asked: _Asked) -> dict[str, object]:
        stuck = self.context.directory.unwell(PATIENCE)
        if stuck:
            return {"alive": False, "stuck": stuck}
        if asked.rtt is not None:
            return {"alive": True, "rtt": round(asked.rtt, 4)}
        if not self._leads():
            return {"alive": True, "standby": True}
        return {"alive": False, "bus": "down"}

    def stopped(self) -> None:
        """Leave no socket and no one waiting."""
        for asked in self._asked.values():
            asked.connection.close()
        # The successor of an abandoned life has its own socket under this name.
        if self._listener is not None and not self.context.abandoned:
            try:
                os.unlink(self._path)
            except OSError:
                pass  # gone, or in a directory that can't be changed any more


def _asked_for(connection: socket.socket) -> tuple[Callback, ...]:
    """Return the callbacks that are to be listened for; none if it is asked whether we are alive."""
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
        pass  # not every system lets a listener be shut down; closing wakes accept there
    listener.close()
