"""`nssh-remote port`: connect standard input and output to a loopback port of this machine.

A login's callback takes this way where the sshd does not forward (AllowTcpForwarding no).
"""

from __future__ import annotations

import _socket
import _thread
import os
import select

from nssh.relay.dial import copy_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

CONNECTED = b"connected\n"
REFUSED = b"refused\n"

_CHUNK = 64 * 1024
_TIMEOUT = 5.0  # seconds; loopback answers at once unless the server's listen queue is full
_LOOPBACK = {"127.0.0.1": _socket.AF_INET, "::1": _socket.AF_INET6}

USAGE = "usage: nssh-remote port PORT MARK 127.0.0.1|::1 …\n"


def main(argv: Sequence[str]) -> int:
    """Run `nssh-remote port PORT MARK ADDRESS …`, which connects to the first address that accepts.

    It prints the mark on a line of its own (see `nssh.relay.dial`), `connected` or `refused` on the next line, and then
    copies both ways until the server or our reader ends.

    Returns:
        The exit status: 0 after a connection, 1 if no program listens, 2 for wrong usage.
    """
    if len(argv) < 3 or not argv[0].isdigit() or not 0 < int(argv[0]) < 1 << 16 or set(argv[2:]) - set(_LOOPBACK):
        os.write(2, USAGE.encode())
        return 2
    port, mark, addresses = int(argv[0]), argv[1], argv[2:]
    connection = _connect(port, addresses)
    os.write(1, b"\n%s\n%s" % (mark.encode(), REFUSED if connection is None else CONNECTED))
    if connection is None:
        return 1
    _thread.start_new_thread(copy_in, (connection,))
    _copy_out(connection)
    return 0


def _connect(port: int, addresses: Sequence[str]) -> Any:
    for address in addresses:
        connection = None
        try:
            connection = _socket.socket(_LOOPBACK[address], _socket.SOCK_STREAM)
            connection.settimeout(_TIMEOUT)
            connection.connect((address, port))
        except OSError:  # no program listens, or this machine has no such address
            if connection is not None:
                connection.close()
            continue
        connection.settimeout(None)
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        return connection
    return None


def _copy_out(connection: Any) -> None:
    # Standard output is polled for the end of its reader: while the server is silent nothing else would tell, since the
    # end of standard input may be a mere half-close.
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(1, 0)
    while True:
        ready = dict(poll.poll())
        if 1 in ready:
            return
        try:
            data = connection.recv(_CHUNK)
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
        except OSError:  # the server has reset the connection, or our reader is gone
            return
        if not data:
            return
