"""`nssh relay dial`: standard input and output become a connection to the relay (as docker does with dial-stdio)."""

from __future__ import annotations

import _socket
import _thread
import os

from nssh.relay.daemon import ensure_running
from nssh.relay.places import RelayError
from nssh.wire.transport import open_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from nssh.relay.places import Places

_CHUNK = 64 * 1024


def dial(places: Places, options: Sequence[str] = (), *, mark: str = "") -> None:
    """Copy standard input to the relay and its answers to standard output until the relay, or our reader, ends.

    The end of standard input is passed on (half-close); what the relay still sends then is still copied. A mark comes
    first, on a line of its own: what a login shell's start-up files printed stands before it.

    Raises:
        RelayError: The relay can't be started or reached.
    """
    connection = _connect(places, options)
    # Two blocking copies: no descriptor of ours becomes non-blocking behind the back of who shares it, and neither
    # direction can hold up the other.
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


def _connect(places: Places, options: Sequence[str]) -> Any:
    # More than once: the one that answered `ensure_running` may have been about to end for being idle.
    for _ in range(5):
        connection = _try_to_connect(places)
        if connection is not None:
            connection.settimeout(None)
            return connection
        ensure_running(places, options)
    raise RelayError("cannot reach the nssh relay: it ends as soon as it is started, see %s" % places.log)


def _try_to_connect(places: Places) -> Any:
    try:
        return open_unix(places.socket, 10.0)
    except OSError:
        return None  # `ensure_running` finds out what is wrong, and says it


def copy_in(connection: Any) -> None:
    """Copy standard input to a connection, and pass on its end; for a thread of its own."""
    try:
        while True:
            data = os.read(0, _CHUNK)
            if not data:
                break
            connection.sendall(data)
    except OSError:
        pass  # standard input or the relay is gone: either way nothing more will come from here
    try:
        connection.shutdown(_socket.SHUT_WR)
    except OSError:
        return  # gone already; the other thread reads the end
