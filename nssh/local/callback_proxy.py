"""Listeners on this machine's loopback that stand for ports of the remote while logins are under way.

One thread waits for all of them, and for clients that have not asked for anything yet: browsers open connections on
suspicion, and a remote's little server may take each one for the callback. Only a connection that begins with a request
to this machine's loopback, called so, is carried, by threads of its own (`nssh.local.callback_connection`).
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
"""Clients that have not asked for anything yet; the oldest makes room."""
MOST_CARRIED = 24
"""Connections that are carried at once, with two threads and 128 KiB each; further ones wait their turn."""
MOST_WAITING = 64
"""Connections that wait their turn; what comes beyond is hung up on."""
MOST_ALIKE = 4
"""Requests of the same words that wait for an answer at once; no browser has more of them."""
LOWEST_PORT = 1024

_PATIENCE = 3.0  # seconds for a program that opens the browser before it listens
_PAUSE = 0.1
_JOIN = 2.0
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Refusal(NamedTuple):
    """A callback that is not listened for, or not on each of its addresses: what is wrong with which port."""

    port: int
    reason: str
    """Follows `port N `."""


class CallbackProxy:
    """All flows of a session.

    `expect`, `close` and `poke` may be called from any thread; `run` is the body of a thread that the caller owns.
    """

    def __init__(
        self,
        dial: Callable[[Sequence[str], int], Channel],
        on_news: Callable[[FlowSucceeded | FlowEnded], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one without flows.

        Args:
            dial: Reaches a port of the remote at the first of some addresses that accepts; called on carriers' threads.
            on_news: Told of a flow's success and of its end, on `run`'s thread.
            clock: Seconds, monotonic.
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
        # The rest is of `run`'s thread.
        self._selector = selectors.DefaultSelector()
        self._silent: dict[socket.socket, tuple[LoginFlow, bytes]] = {}
        self._waiting: deque[tuple[LoginFlow, socket.socket, bytes]] = deque()
        self._leaving: set[LoginFlow] = set()  # over, with connections that may end in peace

    def expect(self, callback: Callback, seconds: float = LONGEST) -> Refusal | None:
        """Listen for a callback; once this returns, a browser may be sent to it.

        A second callback of the same port joins the first, whose time begins anew.

        Returns:
            What is wrong, if anything; one loopback address may be listened on all the same.
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
        """Whether there may be one more flow; of those that have succeeded, or are mere pages, the oldest gives way."""
        under_way = [flow for flow in self._flows.values() if not flow.end()]
        return len(under_way) < MOST_FLOWS or any(flow.retire() for flow in under_way)

    def ports(self) -> set[int]:
        """Return the ports that are listened on."""
        with self._lock:
            return set(self._flows)

    def poke(self) -> None:
        """Let `run` look at clock and flows again."""
        with contextlib.suppress(OSError):  # it has not heard the last one yet, or is over
            self._ringer.send(b"\0")

    def close(self) -> None:
        """End everything; the ports are free once this returns, and `run` returns soon."""
        with self._lock:
            self._over.set()
            flows, self._flows = list(self._flows.values()), {}
            carriers = list(self._carriers)
        for flow in flows:
            flow.stop_listening()
        for carrier in carriers:
            carrier.cut()
        self.poke()

    # --- From carriers' threads ---------------------------------------------------------------------------------------

    def _reach(self, flow: LoginFlow) -> Channel:
        """Dial for a flow, patient with a program that is about to listen."""
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

    # --- The thread of `run` ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `close`; raises what should not have happened in one of the carriers."""
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
        """Do what is due; return the seconds until the next look at the clock."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            ended = [(flow, reason) for flow in self._flows.values() if (reason := flow.end())]
            succeeded = [flow.port for flow in self._flows.values() if flow.has_news()]
            for flow, _ in ended:
                del self._flows[flow.port]
                flow.stop_listening()  # while nobody can want the port: a login that is repeated may, at this moment
        for flow, listener in fresh:
            with contextlib.suppress(ValueError):  # closed meanwhile
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
        """Take a client, and wait for what it asks."""
        try:
            client = listener.accept()[0]
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._over.wait(_PAUSE)  # it stays readable: don't spin until somebody closes something
            return
        client.setblocking(False)  # noqa: FBT003, it has no keyword
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what comes in pieces goes on so
        if len(self._silent) >= MOST_SILENT:
            self._drop(next(iter(self._silent)))
        self._silent[client] = (flow, b"")
        self._selector.register(client, selectors.EVENT_READ, functools.partial(self._hear, client))

    def _hear(self, client: socket.socket) -> None:
        """Take what a client says first; it is carried once that is a request for sure."""
        flow, head = self._silent.get(client, (None, b""))
        if flow is None:
            return  # dropped in the same round
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
        """Return the answer to a request that is not carried, or ``."""
        if not http.is_tls(head) and not http.is_for_loopback(head):
            return http.MISDIRECTED
        with self._lock:
            carriers = flow.carriers & self._carriers
        # One that has come round: the remote is this machine, and its port is the one that we listen on.
        if sum(other.head == head and not other.answered for other in carriers) >= MOST_ALIKE:
            return http.unreached(ConnectError(f"nothing but nssh itself listens on port {flow.port}", "refused"))
        return b""

    def _drop(self, client: socket.socket) -> None:
        del self._silent[client]
        self._selector.unregister(client)
        client.close()

    def _dismiss(self, flow: LoginFlow, reason: str) -> None:
        """End a flow. What is on its way when the remote's port closes, the last answer most likely, still arrives."""
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
