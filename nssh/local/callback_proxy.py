"""Listens on this machine's loopback in place of ports of the remote, while logins wait for their callbacks.

One thread accepts connections and waits for their first request. Browsers open connections in advance, and a small
server on the remote may take each one for the callback. So a connection is only forwarded, by threads of its own
(`nssh.local.callback_connection`), once it has sent a request whose Host header names the loopback.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import selectors
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import ConnectError
from nssh.local import callback_http as http
from nssh.local.callback_connection import CarriedConnection
from nssh.local.callback_flow import LONGEST, FlowEnded, FlowSucceeded, LoginFlow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.local.callback_finder import Callback
    from nssh.ssh.connection import Channel

MOST_FLOWS = 16
MOST_SILENT = 64
"""Connections that have not sent a request yet. If there are more, the oldest is closed."""
MOST_CARRIED = 24
"""Connections that are forwarded at the same time, with two threads and 128 KiB each. Further ones wait."""
MOST_WAITING = 64
"""Connections that wait to be forwarded. Further ones are closed."""
MOST_ALIKE = 4
"""Identical requests that wait for an answer at the same time. More mean a loop."""
LOWEST_PORT = 1024

_PATIENCE = 3.0  # seconds for a program that opens the browser before it listens
_PAUSE = 0.1
_JOIN = 2.0
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Refusal(NamedTuple):
    """Why a port is not listened on, or not on all addresses of the callback."""

    port: int
    reason: str
    """Text that follows `port N `."""


class CallbackProxy:
    """All login flows of a session.

    Any thread may call `expect`, `close` and `poke`. The caller provides a thread for `run`.
    """

    def __init__(
        self,
        dial: Callable[[Sequence[str], int], Channel],
        on_news: Callable[[FlowSucceeded | FlowEnded], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without flows.

        Args:
            dial: Connects to a port of the remote, at the first of some addresses that accepts. Called on the
                connections' threads.
            on_news: Called on `run`'s thread when a flow has succeeded, and when it is over.
            clock: Returns monotonic seconds.
        """
        self._dial = dial
        self._on_news = on_news
        self._clock = clock
        self._over = threading.Event()
        self._bell, self._ringer = socket.socketpair()
        self._ringer.setblocking(False)  # noqa: FBT003, it has no keyword
        self._lock = threading.Lock()  # guards what follows
        self._flows: dict[int, LoginFlow] = {}
        self._fresh: list[tuple[LoginFlow, socket.socket]] = []  # listeners that `run` does not know yet
        self._carriers: set[CarriedConnection] = set()
        self._failure: BaseException | None = None
        # The rest belongs to `run`'s thread.
        self._selector = selectors.DefaultSelector()
        self._silent: dict[socket.socket, tuple[LoginFlow, bytes]] = {}
        self._waiting: deque[tuple[LoginFlow, socket.socket, bytes]] = deque()
        self._leaving: set[LoginFlow] = set()  # flows that are over, whose connections may still end by themselves

    def expect(self, callback: Callback, seconds: float = LONGEST) -> Refusal | None:
        """Listen for a callback. Once this returns, a browser may be sent to it.

        A second callback on the same port joins the first one's flow, and restarts its time.

        Args:
            callback: The callback.
            seconds: How long to listen.

        Returns:
            What is wrong, or None. One of the two loopback addresses may be listened on even so.
        """
        port = callback.port
        if port < LOWEST_PORT:
            return Refusal(port, f"is below {LOWEST_PORT}, where nssh does not listen")
        with self._lock:
            if self._over.is_set():
                return Refusal(port, "is not listened on: the session ends")
            flow = self._flows.get(port)
            if flow is None:
                if not self._make_room():
                    return Refusal(port, f"is not listened on: {MOST_FLOWS} logins are under way")
                flow = LoginFlow(port, self._reach, self._clock)
            fresh, problem = flow.listen(callback)
            if flow.listeners:
                flow.expect(callback, seconds)
                self._flows[port] = flow
                self._fresh += [(flow, listener) for listener in fresh]
        self.poke()
        return Refusal(port, problem) if problem else None

    def _make_room(self) -> bool:
        """Return whether there is room for another flow. If not, end the oldest that has succeeded or has no path."""
        under_way = [flow for flow in self._flows.values() if not flow.end()]
        return len(under_way) < MOST_FLOWS or any(flow.retire() for flow in under_way)

    def ports(self) -> set[int]:
        """Return the ports that are listened on."""
        with self._lock:
            return set(self._flows)

    def poke(self) -> None:
        """Wake `run`, so that it looks at the clock and the flows again."""
        with contextlib.suppress(OSError):  # it has not read the last byte yet, or has ended
            self._ringer.send(b"\0")

    def close(self) -> None:
        """End all flows. The ports are free once this returns; `run` returns soon after."""
        with self._lock:
            self._over.set()
            flows, self._flows = list(self._flows.values()), {}
            carriers = list(self._carriers)
        for flow in flows:
            flow.stop_listening()
        for carrier in carriers:
            carrier.cut()
        self.poke()

    # --- Called on the connections' threads ---------------------------------------------------------------------------

    def _reach(self, flow: LoginFlow) -> Channel:
        """Connect to a flow's port; try again for some seconds, since the program may not listen yet."""
        deadline = self._clock() + (0.0 if flow.reached else _PATIENCE)
        while True:
            try:
                channel = self._dial(flow.addresses, flow.port)
            except ConnectError as error:
                if error.kind != "refused":
                    raise
                if self._clock() >= deadline or self._over.wait(_PAUSE):
                    flow.refused()
                    self.poke()
                    raise
            else:
                flow.reached = True
                return channel

    def _carried(self, carrier: CarriedConnection) -> None:
        with self._lock:
            self._carriers.discard(carrier)
            self._failure = self._failure or carrier.failure
        self.poke()

    # --- Called on the thread of `run` --------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `close`. Raises an unexpected exception of a connection's thread."""
        try:
            self._selector.register(self._bell, selectors.EVENT_READ, lambda: self._bell.recv(4096))
            while not self._over.is_set():
                for key, _ in self._selector.select(self._tend()):
                    key.data()
                if self._failure is not None:
                    raise self._failure
        finally:
            self._end()

    def _tend(self) -> float | None:
        """Do what is due; return the seconds until something is due again, None if nothing is."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            ended = [(flow, reason) for flow in self._flows.values() if (reason := flow.end())]
            succeeded = [flow.port for flow in self._flows.values() if flow.has_news()]
            for flow, _ in ended:
                del self._flows[flow.port]
                flow.stop_listening()  # under the lock: a repeated login may want the same port at this moment
        for flow, listener in fresh:
            with contextlib.suppress(ValueError):  # it has been closed meanwhile
                self._selector.register(listener, selectors.EVENT_READ, functools.partial(self._accept, flow, listener))
        for port in succeeded:
            self._on_news(FlowSucceeded(port))
        for flow, reason in ended:
            self._dismiss(flow, reason)
        now = self._clock()
        for flow in [flow for flow in self._leaving if now >= flow.deadline() or not flow.carriers]:
            self._leaving.discard(flow)
            self._cut(flow)
        self._start_carriers()
        with self._lock:
            deadlines = [flow.deadline() for flow in (*self._flows.values(), *self._leaving)]
        return max(min(deadlines) - now, 0.0) if deadlines else None

    def _accept(self, flow: LoginFlow, listener: socket.socket) -> None:
        """Accept a connection, and wait for its request."""
        try:
            client = listener.accept()[0]
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._over.wait(_PAUSE)  # the listener stays readable: don't spin until file descriptors are free
            return
        client.setblocking(False)  # noqa: FBT003, it has no keyword
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # forward small pieces without delay
        if len(self._silent) >= MOST_SILENT:
            self._drop(next(iter(self._silent)))
        self._silent[client] = (flow, b"")
        self._selector.register(client, selectors.EVENT_READ, functools.partial(self._hear, client))

    def _hear(self, client: socket.socket) -> None:
        """Read from a client; let the connection be forwarded once it has sent a request."""
        flow, head = self._silent.get(client, (None, b""))
        if flow is None:
            return  # closed in the same round
        try:
            data = client.recv(http.LONGEST_HEAD - len(head))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        head += data
        try:
            asks = (flow.secure and http.is_tls(head)) or (
                http.read_request(head) is not None and http.is_for_loopback(head) is not None
            )
        except http.NotHttpError:
            data = b""
        if not data:
            self._drop(client)
        elif asks:
            del self._silent[client]
            self._selector.unregister(client)
            client.setblocking(True)  # noqa: FBT003, it has no keyword
            self._waiting.append((flow, client, head))
        else:
            self._silent[client] = (flow, head)

    def _start_carriers(self) -> None:
        while self._waiting and len(self._carriers) < MOST_CARRIED:
            flow, client, head = self._waiting.popleft()
            flow.connections += 1
            flow.moved()
            carrier = CarriedConnection(client, head, flow, self._carried, refusal=self._refusal(flow, head))
            with self._lock:
                self._carriers.add(carrier)
                flow.carriers &= self._carriers
                flow.carriers.add(carrier)
            carrier.start()
        while len(self._waiting) > MOST_WAITING:
            self._waiting.pop()[1].close()

    def _refusal(self, flow: LoginFlow, head: bytes) -> bytes:
        """Return the answer to a request that is not forwarded; empty if it is."""
        if not http.is_tls(head) and not http.is_for_loopback(head):
            return http.MISDIRECTED
        with self._lock:
            carriers = flow.carriers & self._carriers
        # A loop: the remote is this machine, and the request arrives again at this listener.
        if sum(other.head == head and not other.answered for other in carriers) >= MOST_ALIKE:
            return http.unreached(ConnectError(f"nothing but nssh itself listens on port {flow.port}", "refused"))
        return b""

    def _drop(self, client: socket.socket) -> None:
        del self._silent[client]
        self._selector.unregister(client)
        client.close()

    def _dismiss(self, flow: LoginFlow, reason: str) -> None:
        """End a flow. If the remote's port was closed, its connections may still deliver the last answer."""
        for listener in flow.listeners.values():
            with contextlib.suppress(KeyError, ValueError):  # not registered yet
                self._selector.unregister(listener)
        for client in [client for client, (owner, _) in self._silent.items() if owner is flow]:
            self._drop(client)
        if reason == "closed":
            self._leaving.add(flow)
        else:
            self._cut(flow)
        self._on_news(FlowEnded(flow.port, reason, flow.connections))

    def _cut(self, flow: LoginFlow) -> None:
        for entry in [entry for entry in self._waiting if entry[0] is flow]:
            self._waiting.remove(entry)
            entry[1].close()
        with self._lock:
            carriers = flow.carriers & self._carriers
        for carrier in carriers:
            carrier.cut()

    def _end(self) -> None:
        self.close()
        for client in [*self._silent, *(client for _, client, _ in self._waiting)]:
            client.close()
        self._silent.clear()
        self._waiting.clear()
        self._selector.close()
        with self._lock:
            carriers = list(self._carriers)
        for carrier in carriers:
            carrier.cut()
        for carrier in carriers:
            carrier.join(_JOIN)
        self._bell.close()
        self._ringer.close()
