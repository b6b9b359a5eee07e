"""Alive means answering: pong for a ping, over the topic and over the session's control socket."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING

from actors.messages import Flush, Log, Probe, ProbeExpired, Problem, Publish, Report, Update, Work
from actors.worker import Worker
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from actors.incarnation import Context
    from actors.outbox import Outbox
    from nssh.bus.ledger import Ledger

DEADLINE = 1.5
"""Seconds for a round trip around the bus; DESIGN.md, guarantee G3."""

_BACKLOG = 8
_PONG_WITHIN = 10.0


class LivenessResponder(Worker):
    """Answers pings, and sends one of its own around the bus for whoever asks over the control socket."""

    def __init__(self, context: Context, ledger: Ledger, socket_path: str, outbox: Outbox) -> None:
        super().__init__(context, ledger)
        self._path = socket_path
        self._outbox = outbox
        self._listener: socket.socket | None = None
        self._probes: dict[str, tuple[socket.socket, float]] = {}

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
            connection.settimeout(1.0)
            if not self.post(Probe(connection)):
                connection.close()
                return

    def handle(self, message: Work | Probe | ProbeExpired | Report) -> None:
        """Answer a ping; begin or end a probe."""
        match message:
            case Probe(connection):
                probe_id = wire.new_id()
                self._probes[probe_id] = (connection, time.monotonic())
                self._publish(wire.KIND_PING, probe_id, DEADLINE)
                self.after(DEADLINE, ProbeExpired(probe_id))
            case ProbeExpired(probe_id):
                self._reply(probe_id, alive=False)
            case Report():
                self._report()
            case Work() if not self.is_repeated(message):
                ping = message.envelope
                if not self._reply(ping.id, alive=True) and ping.id:
                    self._publish(wire.KIND_PONG, ping.id, _PONG_WITHIN)
                self.finish(message)

    def _publish(self, kind: str, envelope_id: str, within: float) -> None:
        self._outbox.put(Publish(wire.Envelope(kind, id=envelope_id), time.monotonic() + within))
        self.send("publisher", Flush())

    def _reply(self, probe_id: str, *, alive: bool) -> bool:
        """Tell who asked; return whether somebody had."""
        connection, asked = self._probes.pop(probe_id, (None, 0.0))
        if connection is None:
            return False
        answer: dict[str, object] = {"alive": alive}
        if alive:
            answer["rtt"] = round(time.monotonic() - asked, 4)
        try:
            connection.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            pass  # whoever asked has gone
        finally:
            connection.close()
        return True

    def stopped(self) -> None:
        """Leave no socket and no one waiting."""
        for connection, _ in self._probes.values():
            connection.close()
        # The successor of an abandoned life has its own socket under this name.
        if self._listener is not None and not self.context.abandoned:
            try:
                os.unlink(self._path)
            except OSError:
                pass  # gone, or in a directory that can't be changed any more


def _shut_down(listener: socket.socket) -> None:
    try:
        listener.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not every system lets a listener be shut down; closing wakes accept there
    listener.close()
