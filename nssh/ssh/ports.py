"""Reaching a port on the remote's loopback, also where its sshd forwards nothing."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.relay.port import CONNECTED, REFUSED
from nssh.ssh.marked import MarkedStream, new_mark
from nssh.ssh.remote_command import remote_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.ssh.connection import Channel, Connection

_LONGEST_ANSWER = max(len(CONNECTED), len(REFUSED))


class _MarkedChannel(MarkedStream):
    def __init__(self, stream: Channel, mark: str) -> None:
        super().__init__(stream, mark)
        self.send_eof = stream.send_eof


class PortOpener:
    """Opens channels to loopback ports of the remote; usable from any thread.

    ssh's own channel comes first: it costs one round trip. Where that is refused, which may mean that nobody listens as
    well as that forwarding is off, a command on the remote connects and tells which; a connection on which that
    reached what a channel did not is remembered.
    """

    def __init__(self, destination: str) -> None:
        """Make one for the remote of this name, which error texts use."""
        self._destination = destination
        self._barred: weakref.WeakSet[Connection] = weakref.WeakSet()

    def open(self, connection: Connection, addresses: Sequence[str], port: int, *, timeout: float = 10.0) -> Channel:
        """Connect to the first of `addresses` (`127.0.0.1`, `::1`) that accepts, within `timeout` seconds.

        Raises:
            ConnectError: Nobody listens there (kind `refused`), or the connection is gone or does not answer.
        """
        deadline = time.monotonic() + timeout
        # ssh -W tells of a refusal by nothing but its end, as of a server that hangs up.
        if connection.name != "batch" and connection not in self._barred:
            for address in addresses:
                try:
                    return connection.open_port(address, port, timeout=_left(deadline))
                except ConnectError as error:
                    if error.kind != "refused":
                        raise
        channel = self._by_command(connection, addresses, port, deadline)
        if connection.name != "batch":
            self._barred.add(connection)
        return channel

    def _by_command(self, connection: Connection, addresses: Sequence[str], port: int, deadline: float) -> Channel:
        mark = new_mark()
        command = remote_command("port", str(port), mark, *addresses)
        stream = _MarkedChannel(connection.open_stream(command, timeout=_left(deadline)), mark)
        try:
            answer = _read_line(stream, deadline)
            if answer == CONNECTED:
                stream.settimeout(None)
                return stream
        except TimeoutError:
            stream.close()
            raise ConnectError(f"{self._destination} does not answer", "timeout") from None
        except OSError as error:
            stream.close()
            raise ConnectError(f"{self._destination}: the connection is gone", "closed") from error
        except BaseException:
            stream.close()
            raise
        stream.close()
        if answer == REFUSED:
            raise ConnectError(f"nothing listens on port {port} of {self._destination}", "refused")
        # A shell that says "not found", or an nssh without this command.
        where = self._destination
        raise ConnectError(
            f"ssh does not lead to port {port} of {where}, and its nssh is missing or too old: run nssh infect {where}",
            "refused",
        )


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.1)


def _read_line(stream: Channel, deadline: float) -> bytes:
    """Return the command's answer; what ends earlier, or is longer than any, comes as it is."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_ANSWER:
        stream.settimeout(_left(deadline))
        data = stream.recv(1)
        if not data:
            break
        line += data
    return line
