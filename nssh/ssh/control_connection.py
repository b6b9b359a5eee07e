"""Run commands over the user's own live connection, by its control socket: no handshake, no second password."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh._pump import AbortedError, Pipes, Pump
from nssh.ssh._streams import SocketStream
from nssh.ssh.connection import Completed
from nssh.ssh.mux import MuxClient, master_pid

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.ssh.identity import Target

_KILLED = 255  # the status that ssh reports for a command that a signal ended


def wait_for_socket(control_path: str, deadline: float, stop: threading.Event) -> bool:
    """Wait until a master answers at the control socket; return False if `stop` was set or the deadline passed first.

    Args:
        control_path: The control socket.
        deadline: By `time.monotonic`.
        stop: Set by another thread to end the wait.
    """
    pause = 0.005
    while not stop.is_set():
        if master_pid(control_path) is not None:
            return True
        remaining = deadline - time.monotonic()
        if remaining <= 0 or stop.wait(min(pause, remaining)):
            return False
        pause = min(pause * 2, 0.1)
    return False


class ControlConnection:
    """A connection over a master's control socket; implements `nssh.ssh.connection.Connection`.

    The master belongs to the user's ssh: `close` ends our commands and streams, not the master.
    """

    name = "control"

    def __init__(self, target: Target, control_path: str) -> None:
        """Keep the path of the control socket; nothing is opened yet, so this never fails."""
        self.target = target
        self.control_path = control_path
        self._lock = threading.Lock()
        self._streams: set[SocketStream] = set()
        self._clients: set[MuxClient] = set()
        self._closed = False

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        """See `Connection.run`."""
        deadline = time.monotonic() + timeout
        pipes = Pipes()
        try:
            client = self._connect(timeout)
            try:
                client.open_session(command, pipes.far)
                pipes.close(*pipes.far)
                pump = Pump(pipes, stdin, limit)
                try:
                    pump.run(deadline, line=client.fileno(), aborted=lambda: self._closed)
                except TimeoutError:
                    raise self._error(f"a command took longer than {timeout:g} s", "timeout") from None
                except AbortedError:
                    raise self._error("the connection was closed", "closed") from None
                status = client.exit_status(deadline)
            finally:
                self._disconnect(client)
        finally:
            pipes.close()
        if status is None:
            if self._closed or not self.alive():
                raise self._error("the connection was lost while a command ran", "closed")
            status = _KILLED
        return Completed(status, pump.stdout, pump.stderr, pump.truncated)

    def open_stream(self, command: str, *, timeout: float = 15.0) -> SocketStream:
        """See `Connection.open_stream`; the stream's `stderr` holds the end of the command's stderr."""
        reader, writer = os.pipe()
        try:
            return self._stream(
                lambda client, file: client.open_session(command, (file, file, writer)), reader, timeout
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> SocketStream:
        """See `Connection.open_port`."""
        return self._stream(lambda client, file: client.open_port(host, port, (file, file)), None, timeout)

    def alive(self) -> bool:
        """Whether the master answers. It notices a dead link itself, by ServerAliveInterval."""
        return not self._closed and self.master_pid() is not None

    def master_pid(self) -> int | None:
        """Return the master's PID, or None when it is gone."""
        return master_pid(self.control_path)

    def close(self) -> None:
        """See `Connection.close`; the master stays."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, set()
            clients, self._clients = self._clients, set()
        for stream in streams:
            stream.close()
        for client in clients:
            client.cut()

    def _error(self, text: str, kind: str) -> ConnectError:
        return ConnectError(f"{self.target.destination}: {text}", kind)

    def _connect(self, timeout: float) -> MuxClient:
        client = MuxClient(self.control_path, timeout)
        with self._lock:
            if not self._closed:
                self._clients.add(client)
                return client
        client.close()
        raise self._error("the connection was closed", "closed")

    def _disconnect(self, client: MuxClient) -> None:
        with self._lock:
            self._clients.discard(client)
        client.close()

    def _stream(self, request: Callable[[MuxClient, int], None], stderr: int | None, timeout: float) -> SocketStream:
        client = self._connect(timeout)
        near, far = socket.socketpair()
        try:
            with far:
                request(client, far.fileno())
        except BaseException:
            near.close()
            self._disconnect(client)
            raise

        def on_close() -> None:
            with self._lock:
                self._streams.discard(stream)
            self._disconnect(client)

        stream = SocketStream(near, stderr, on_close)
        with self._lock:
            closed = self._closed
            if not closed:
                self._streams.add(stream)
        if closed:
            stream.close()
            raise self._error("the connection was closed", "closed")
        return stream
