"""One login under way: the port that stands for the remote's, and when it is over."""

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
"""Of one flow; a program that asks for the same port for ever, by other paths each time, has had its share."""

_BACKLOG = 64
_LOOPBACK = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


class FlowSucceeded(NamedTuple):
    """The callback came and was taken; the flow goes on for as long as the browser has something to ask."""

    port: int


class FlowEnded(NamedTuple):
    """A flow is over: its `reason` is `success`, `closed` (nothing listens on the remote any more) or `timeout`."""

    port: int
    reason: str
    connections: int


class LoginFlow:
    """One port; its listeners, and what was seen of its traffic.

    Attributes:
        port: Here and on the remote.
        addresses: On the remote, in the order to be tried.
        paths: Of the callbacks; the first answer of one is its success.
        secure: Whether clients may speak TLS.
        listeners: By address.
        carriers: Of its connections, ended ones included.
        connections: How many asked for something.
        reached: Whether the remote's port accepted a connection.
    """

    def __init__(self, port: int, reach: Callable[[LoginFlow], Channel], clock: Callable[[], float]) -> None:
        """Make one that expects nothing yet; `reach` opens a channel to its port on the remote."""
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
        """Wait for a callback, as well as for those before; the time begins anew."""
        self.addresses += tuple(address for address in callback.addresses if address not in self.addresses)
        if callback.path and len(self.paths) < MOST_PATHS:
            self.paths |= {callback.path}
        self.secure |= callback.secure
        self._expires = self._clock() + seconds
        self._succeeded = self._closed = self._told = self.reached = False

    def listen(self, callback: Callback) -> tuple[list[socket.socket], str]:
        """Listen on both loopback addresses, where that is not done yet; one that this machine lacks is passed over.

        Returns:
            The new listeners; and why one that the callback's name stands for can't be had, or ``.
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
        """Give the port back."""
        for listener in self.listeners.values():
            listener.close()

    def end(self) -> str:
        """Return why it is over, as in `FlowEnded`, or `` if it is not."""
        now = self._clock()
        if self._closed:
            return "closed"
        if now >= self.deadline():
            return "success" if self._succeeded else "timeout"
        return ""

    def has_news(self) -> bool:
        """Whether it has succeeded, once."""
        told, self._told = self._told, self._succeeded
        return self._succeeded and not told

    def retire(self) -> bool:
        """End it now if it has succeeded, or if no callback of it is known; return whether that is so."""
        may = self._succeeded or not self.paths
        if may:
            self._expires = self._clock()
        return may

    def deadline(self) -> float:
        """Return when it will be over if nothing happens."""
        return min(self._expires, self._moved + QUIET) if self._succeeded else self._expires

    # From carriers' threads: plain assignments.

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
        """Note that nothing listens on the remote; where something did, that is the end."""
        self._closed = self.reached


def _bind(address: str, port: int) -> socket.socket:
    """Listen on one loopback address and nowhere else."""
    try:
        return _listener(address, port, again=False)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or _accepts(address, port):
            raise
    # Left behind by connections of a flow before. Not without a look: some systems give the port of a program that
    # listens on all addresses to whoever wants it for one.
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
        # Now in any case: its connections inherit that, and what is left of them is in nobody's way afterwards.
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
            return True  # it does not answer: somebody is there
        return True
