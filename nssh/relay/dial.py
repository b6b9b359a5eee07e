"""`nssh relay dial`: connect standard input and output to the relay (as docker does with dial-stdio)."""

from __future__ import annotations

import _socket
import _thread
import os

from nssh.relay.daemon import ensure_running
from nssh.relay.relay_paths import RelayError
from nssh.wire.client_connection import open_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from nssh.relay.relay_paths import RelayPaths

_CHUNK = 64 * 1024


def dial(places: RelayPaths, options: Sequence[str] = (), *, mark: str = "") -> None:
    """Copy standard input to the relay and its answers to standard output, until the relay or our reader ends.

    The end of standard input is passed on (half-close), and answers are copied after it, too.

    Args:
        places: The relay's paths.
        options: Further arguments for `serve`, if the relay has to be started.
        mark: Printed first, on a line of its own; the output of start-up files stands before it. Empty for none.

    Raises:
        RelayError: The relay can't be started or reached.
    """
    connection = _connect(places, options)
    # Two threads with blocking calls: neither direction can hold up the other, and standard input and output, which
    # other processes may share, are not made non-blocking.
    if mark:
        os.write(1, b"\n%s\n" % mark.encode())
    _thread.start_new_thread(copy_in, (connection,))
    while True:
        try:
            data = connection.recv(_CHUNK)
        except OSError:
            return  # reset: the relay was killed
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(1, view) :]
        except BrokenPipeError:
            return
        if not data:
            return


def _connect(places: RelayPaths, options: Sequence[str]) -> Any:
    # Several attempts: a relay that has just answered `ensure_running` may end because it was idle.
    for _ in range(5):
        connection = _try_to_connect(places)
        if connection is not None:
            connection.settimeout(None)
            return connection
        ensure_running(places, options)
    raise RelayError("cannot reach the nssh relay: it ends as soon as it is started, see %s" % places.log)


def _try_to_connect(places: RelayPaths) -> Any:
    try:
        return open_unix(places.socket, 10.0)
    except OSError:
        return None  # `ensure_running` reports the reason


def copy_in(connection: Any) -> None:
    """Copy standard input to a connection, and pass on its end; to be run on a thread of its own."""
    try:
        while True:
            data = os.read(0, _CHUNK)
            if not data:
                break
            connection.sendall(data)
    except OSError:
        pass  # standard input or the relay is gone
    try:
        connection.shutdown(_socket.SHUT_WR)
    except OSError:
        return  # closed already; the other thread reads the end
