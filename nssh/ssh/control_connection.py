"""Commands over the user's own live connection: its control socket, no handshake and no second password."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh import script
from nssh.ssh._pump import AbortedError, Pipes, Pump
from nssh.ssh._streams import SocketStream
from nssh.ssh.connection import Completed
from nssh.ssh.mux import Passenger, master_pid

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.ssh.identity import Target

_KILLED = 255  # what ssh itself reports for a command that was ended by a signal


def wait_for_socket(control_path: str, deadline: float, stop: threading.Event) -> bool:
    """Wait until a master answers; False when `deadline` (by `time.monotonic`) passed or `stop` was set first."""
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
    """Connection over a master's control socket; see `nssh.ssh.connection.Connection`.

    The master belongs to the user's ssh: `close` ends what goes through it from here, not the master itself.
    """

    name = "control"

    def __init__(self, target: Target, control_path: str) -> None:
        """Take a control socket; nothing is opened yet, so this never fails."""
        self.target = target
        self.control_path = control_path
        self._lock = threading.Lock()
        self._streams: set[SocketStream] = set()
        self._passengers: set[Passenger] = set()
        self._closed = False

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        """See `Connection.run`; a command that a signal ended has status 255, which is all that ssh tells."""
        deadline = time.monotonic() + timeout
        pipes = Pipes()
        try:
            passenger = self._board(timeout)
            try:
                passenger.open_session(command, pipes.far)
                pipes.close(*pipes.far)
                pump = Pump(pipes, stdin, limit)
                try:
                    pump.run(deadline, line=passenger.fileno(), aborted=lambda: self._closed)
                except TimeoutError:
                    raise self._error(f"a command took longer than {timeout:g} s", "timeout") from None
                except AbortedError:
                    raise self._error("the connection was closed", "closed") from None
                status = passenger.exit_status(deadline)
            finally:
                self._leave(passenger)
        finally:
            pipes.close()
        if status is None:
            if self._closed or not self.alive():
                raise self._error("the connection was lost while a command ran", "closed")
            status = _KILLED
        return Completed(status, pump.stdout, pump.stderr, pump.truncated)

    def open_stream(self, command: str, *, timeout: float = 15.0) -> SocketStream:
        """See `Connection.open_stream`; the stream has the end of the command's stderr in `stderr`."""
        reader, writer = os.pipe()
        try:
            return self._stream(
                lambda passenger, file: passenger.open_session(command, (file, file, writer)), reader, timeout
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> SocketStream:
        """See `Connection.open_port`."""
        return self._stream(lambda passenger, file: passenger.open_port(host, port, (file, file)), None, timeout)

    def put(self, data: bytes, path: str, *, timeout: float = 60.0) -> None:
        """See `Connection.put`."""
        script.put(self, data, path, timeout)

    def alive(self) -> bool:
        """Whether the master answers; noticing a dead link is the master's own part (ServerAliveInterval)."""
        return not self._closed and self.master_pid() is not None

    def master_pid(self) -> int | None:
        """Return the master's PID, or None when it is gone."""
        return master_pid(self.control_path)

    def close(self) -> None:
        """See `Connection.close`; the master stays."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, set()
            passengers, self._passengers = self._passengers, set()
        for stream in streams:
            stream.close()
        for passenger in passengers:
            passenger.cut()

    def _error(self, text: str, kind: str) -> ConnectError:
        return ConnectError(f"{self.target.destination}: {text}", kind)

    def _board(self, timeout: float) -> Passenger:
        passenger = Passenger(self.control_path, timeout)
        with self._lock:
            if not self._closed:
                self._passengers.add(passenger)
                return passenger
        passenger.close()
        raise self._error("the connection was closed", "closed")

    def _leave(self, passenger: Passenger) -> None:
        with self._lock:
            self._passengers.discard(passenger)
        passenger.close()

    def _stream(self, request: Callable[[Passenger, int], None], stderr: int | None, timeout: float) -> SocketStream:
        passenger = self._board(timeout)
        near, far = socket.socketpair()
        try:
            with far:
                request(passenger, far.fileno())
        except BaseException:
            near.close()
            self._leave(passenger)
            raise

        def on_close() -> None:
            with self._lock:
                self._streams.discard(stream)
            self._leave(passenger)

        stream = SocketStream(near, stderr, on_close)
        with self._lock:
            closed = self._closed
            if not closed:
                self._streams.add(stream)
        if closed:
            stream.close()
            raise self._error("the connection was closed", "closed")
        return stream
