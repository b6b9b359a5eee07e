"""Keeps the state of one login that waits for a callback: its port, its listeners, and when it is over."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.local.callback_connection import CarriedConnection
    from nssh.local.callback_finder import Callback
    from nssh.ssh.connection import Channel

LONGEST = 300.0
"""Seconds that a callback is waited for."""
QUIET = 30.0
"""Seconds without traffic after which a login that succeeded is over."""

MOST_PATHS = 64
"""Callback paths of one flow; further ones are ignored."""

_BACKLOG = 64
_LOOPBACK = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


class FlowSucceeded(NamedTuple):
    """The remote's program accepted the callback. The flow goes on while the browser sends requests."""

    port: int


class FlowEnded(NamedTuple):
    """A flow is over. `reason` is `success`, `closed` (nothing listens on the remote any more) or `timeout`."""

    port: int
    reason: str
    connections: int


class LoginFlow:
    """The flow of one port: its listeners on this machine, its connections, and its deadline.

    Attributes:
        port: The port, the same on this machine and on the remote.
        addresses: The addresses on the remote, in the order to try.
        paths: The paths of the callbacks. The first successful answer to one ends the login with success.
        secure: Whether clients may speak TLS.
        listeners: The listening sockets, by address.
        carriers: Its connections, ended ones included.
        connections: How many connections sent a request.
        reached: Whether the remote's port has accepted a connection.
    """

    def __init__(self, port: int, reach: Callable[[LoginFlow], Channel], clock: Callable[[], float]) -> None:
        """Start without a callback; `reach` opens a channel to the port on the remote."""
        self.port = port
        self.addresses: tuple[str, ...] = ()
        self.paths: frozenset[str] = frozenset()
        self.secure = False
        self.listeners: dict[str, socket.socket] = {}
        self.carriers: set[CarriedConnection] = set()
        self.connections = 0
        self.reached = False
        self._reach = reach
        self._clock = clock
        self._expires = 0.0
        self._moved = 0.0
        self._succeeded = False
        self._closed = False
        self._told = False

    def expect(self, callback: Callback, seconds: float) -> None:
        """Wait for a further callback, for some seconds from now."""
        self.addresses += tuple(address for address in callback.addresses if address not in self.addresses)
        if callback.path and len(self.paths) < MOST_PATHS:
            self.paths |= {callback.path}
        self.secure |= callback.secure
        self._expires = self._clock() + seconds
        self._succeeded = self._closed = self._told = self.reached = False

    def listen(self, callback: Callback) -> tuple[list[socket.socket], str]:
        """Listen on both loopback addresses, unless it does already. An address that this machine lacks is ignored.

        Returns:
            The new listeners; and why an address of the callback can't be listened on, empty if all can.
        """
        fresh, problem = [], ""
        for address in _LOOPBACK:
            if address in self.listeners:
                continue
            try:
                listener = _bind(address, self.port)
            except OSError as error:
                missing = error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
                if address in callback.addresses and not missing and not problem:
                    taken = error.errno == errno.EADDRINUSE
                    problem = "is taken on this machine" if taken else f"can't be listened on: {error.strerror}"
                continue
            self.listeners[address] = listener
            fresh.append(listener)
        return fresh, problem

    def stop_listening(self) -> None:
        """Close the listeners, so that the port is free."""
        for listener in self.listeners.values():
            listener.close()

    def end(self) -> str:
        """Return why the flow is over, as in `FlowEnded`; empty if it is not."""
        now = self._clock()
        if self._closed:
            return "closed"
        if now >= self.deadline():
            return "success" if self._succeeded else "timeout"
        return ""

    def has_news(self) -> bool:
        """Return True once after the login has succeeded, otherwise False."""
        told, self._told = self._told, self._succeeded
        return self._succeeded and not told

    def retire(self) -> bool:
        """End the flow if it has succeeded, or if its callback's path is not known; return whether it ended."""
        may = self._succeeded or not self.paths
        if may:
            self._expires = self._clock()
        return may

    def deadline(self) -> float:
        """Return when the flow is over if nothing more happens."""
        return min(self._expires, self._moved + QUIET) if self._succeeded else self._expires

    # The methods below are called on the connections' threads. They only assign, so they need no lock.

    def dial(self) -> Channel:
        """See `CarriedFlow`."""
        return self._reach(self)

    def moved(self) -> None:
        """See `CarriedFlow`."""
        self._moved = self._clock()

    def succeeded(self) -> None:
        """See `CarriedFlow`."""
        self._succeeded = True

    def refused(self) -> None:
        """Note that nothing listens on the remote. If something did before, the flow is over."""
        self._closed = self.reached


def _bind(address: str, port: int) -> socket.socket:
    """Listen on one loopback address only."""
    try:
        return _listener(address, port, again=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or _accepts(address, port):
            raise
    # Connections of an earlier flow keep the port, and SO_REUSEADDR gets it. It was checked before that nobody listens:
    # with SO_REUSEADDR, some systems hand out the port of a program that listens on all addresses.
    return _listener(address, port, again=True)


def _listener(address: str, port: int, *, again: bool) -> socket.socket:
    listener = socket.socket(_LOOPBACK[address], socket.SOCK_STREAM)
    try:
        listener.setblocking(False)  # noqa: FBT003, it has no keyword
        if again:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _LOOPBACK[address] == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        # Its connections inherit SO_REUSEADDR, so that they don't keep the port later.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _accepts(address: str, port: int) -> bool:
    with socket.socket(_LOOPBACK[address], socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect((address, port))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # no answer in time: a program listens
        return True
