"""Open channels to ports on the remote's loopback, also where its sshd does not forward."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.relay.dial_port import CONNECTED, REFUSED
from nssh.ssh.marked_stream import MarkedStream, new_mark
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

    ssh's own channel is tried first: it costs one round trip. A refusal may mean that no program listens, or that the
    sshd does not forward. So a command on the remote (`nssh-remote port`) tries next, and tells which it was. If the
    command succeeds, that connection's channels are not tried again.
    """

    def __init__(self, destination: str) -> None:
        """Keep the remote's name for error texts."""
        self._destination = destination
        self._not_forwarding: weakref.WeakSet[Connection] = weakref.WeakSet()

    def open(self, connection: Connection, addresses: Sequence[str], port: int, *, timeout: float = 10.0) -> Channel:
        """Connect to the first of `addresses` (`127.0.0.1`, `::1`) that accepts, within `timeout` seconds.

        Raises:
            ConnectError: No program listens there (kind `refused`), or the connection is gone or does not answer.
        """
        deadline = time.monotonic() + timeout
        # In batch mode that is `ssh -W`, where a refusal can't be told from a server that hangs up at once.
        if connection.name != "batch" and connection not in self._not_forwarding:
            for address in addresses:
                try:
                    return connection.open_port(address, port, timeout=_left(deadline))
                except ConnectError as error:
                    if error.kind != "refused":
                        raise
        channel = self._by_command(connection, addresses, port, deadline)
        if connection.name != "batch":
            self._not_forwarding.add(connection)
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
        # The answer is a shell's "not found", or that of an older nssh without this command.
        where = self._destination
        raise ConnectError(
            f"ssh does not lead to port {port} of {where}, and its nssh is missing or too old: run nssh infect {where}",
            "refused",
        )


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.1)


def _read_line(stream: Channel, deadline: float) -> bytes:
    """Return the line with the command's answer; less if the stream ends, and no more than the longest answer."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_ANSWER:
        stream.settimeout(_left(deadline))
        data = stream.recv(1)
        if not data:
            break
        line += data
    return line
