"""Alive means answering: pong for a ping, over the topic and over the session's control socket."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING

from actors._base import BaseActor
from actors.messages import Done, Probe, ProbeExpired, Publish, Update, Work
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from actors.incarnation import Context

DEADLINE = 1.5
"""Seconds for a round trip around the bus; DESIGN.md, guarantee G3."""

_BACKLOG = 8


class LivenessResponder(BaseActor):
    """Answers pings, and sends one of its own around the bus for whoever asks over the control socket."""

    def __init__(self, context: Context, socket_path: str) -> None:
        super().__init__(context)
        self._path = socket_path
        self._probes: dict[str, tuple[socket.socket, float]] = {}

    def started(self) -> None:
        """Listen on the control socket: one connection, one question, one line of JSON in answer."""
        if os.path.exists(self._path):
            os.unlink(self._path)
        self._listener = socket.socket(socket.AF_UNIX)
        # Nobody else gets into its directory (0700); a umask would be the whole process's, browsers included.
        self._listener.bind(self._path)
        os.chmod(self._path, 0o600)
        self._listener.listen(_BACKLOG)
        self.spawn_reader(self._accept, "control", close=self._close)
        self.send("session_registry", Update({"socket": self._path}))

    def _close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not every system lets a listener be shut down; closing wakes accept there
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self.actor_stopped.is_set():
                    return
                raise
            connection.settimeout(1.0)
            if not self.post(Probe(connection)):
                connection.close()
                return

    def handle(self, message: Work | Probe | ProbeExpired) -> None:
        """Answer a ping; begin or end a probe."""
        match message:
            case Probe(connection):
                probe_id = wire.new_id()
                self._probes[probe_id] = (connection, time.monotonic())
                self.send("publisher", Publish(wire.Envelope(wire.KIND_PING, id=probe_id), time.monotonic() + DEADLINE))
                self.after(DEADLINE, ProbeExpired(probe_id))
            case ProbeExpired(probe_id):
                self._reply(probe_id, alive=False)
            case Work(message_id, envelope):
                if envelope.kind == wire.KIND_PING and not self._reply(envelope.id, alive=True) and envelope.id:
                    self.send(
                        "publisher", Publish(wire.Envelope(wire.KIND_PONG, id=envelope.id), time.monotonic() + 10)
                    )
                self.send("subscriber", Done(message_id))

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
        if self.context.abandoned:
            return  # the path is a successor's by now
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
