"""Forwards OAuth callbacks from the laptop's browser to the program on the remote that waits for them."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from actors.messages import (
    BorrowConnection,
    ConnectionBroken,
    ExpectCallbacks,
    FlowNews,
    ForgetProblem,
    LeaseChanged,
    Log,
    Problem,
    ReportState,
)
from actors.supervision import BaseActor
from nssh.base.errors import ConnectError
from nssh.local import callback_store as store
from nssh.local.callback_flow import LONGEST, FlowEnded, FlowSucceeded
from nssh.local.callback_proxy import LOWEST_PORT, CallbackProxy
from nssh.local.desktop_notification import notify
from nssh.ssh.ports import PortOpener

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from actors.supervision import Context
    from nssh.local.callback_finder import Callback
    from nssh.local.callback_proxy import Refusal
    from nssh.ssh.connection import Channel, Connection

# Seconds for a lost connection to come back while a browser waits, and for one attempt to open a channel over it.
_REACH = 30.0
_ATTEMPT = 10.0
_LEND = 5.0
_PAUSE = 0.3


class Ports:
    """Remembers which proxy listens on the laptop's ports, across restarts of the actor.

    An incarnation that hangs does not close its proxy; its ports would be taken when the next one wants to listen.
    """

    def __init__(self) -> None:
        self._proxy: CallbackProxy | None = None

    def hand_over(self, proxy: CallbackProxy) -> None:
        """Close the proxy of the incarnation before, and remember this one's."""
        before, self._proxy = self._proxy, proxy
        if before is not None:
            before.close()


class OAuthProxy(BaseActor):
    """Listens for a login's callbacks, from before its page opens until it is over; see `nssh.local.callback_proxy`.

    The expected callbacks are stored on disk. After a restart of this actor or of the bridge they are listened for
    again; if the session ends, the next session that leads the topic listens for them.
    """

    def __init__(self, context: Context, path: str, destination: str, ports: Ports) -> None:
        """Keep the parts.

        Args:
            context: See `BaseActor`.
            path: The file that stores the expected callbacks.
            destination: The remote's name, for messages to the user.
            ports: Remembers the proxy of the incarnation before.
        """
        super().__init__(context)
        self._path = path
        self._destination = destination
        self._ports = ports
        self._opener = PortOpener(destination)
        self._expected: dict[Callback, float] = {}
        self._problem: tuple[int, str] = (0, "")
        self._stopping = threading.Event()
        self._proxy = CallbackProxy(self._dial, lambda news: self.post(FlowNews(news)))

    def started(self) -> None:
        """Start the proxy. Stored callbacks are read later, once this session is known to hold the lease."""
        self._ports.hand_over(self._proxy)
        self.spawn_reader(self._proxy.run, "proxy", close=self._close)
        self.send("session_registry", ReportState(self.context.id))

    def handle(self, message: ExpectCallbacks | FlowNews | LeaseChanged | ReportState | ForgetProblem) -> None:
        """Listen for callbacks, or note that a login has ended."""
        match message:
            case ExpectCallbacks(callbacks, asker):
                for callback in callbacks:
                    self._expect(callback, LONGEST)
                self._save()
                if asker is not None:
                    _confirm(asker)
            case FlowNews(FlowSucceeded(port)):
                self._forget(port)
            case FlowNews(FlowEnded(port, reason, connections)):
                self._forget(port)
                fields: dict[str, object] = {"port": port, "reason": reason, "connections": connections}
                self.send("log_writer", Log("callback-end", fields))
            case LeaseChanged(held):
                if held:
                    self._expect_stored()
            case ReportState(to):
                self.send(to, Problem("callback", self._problem[1]))
            case ForgetProblem():
                self._report_problem(0, "")

    def stopped(self) -> None:
        """Close the ports. The stored callbacks stay, for the next incarnation or session."""
        self._close()

    def _close(self) -> None:
        self._stopping.set()
        self._proxy.close()

    def _expect_stored(self) -> None:
        """Listen for the stored callbacks that an earlier incarnation, bridge or session was waiting for."""
        now = time.time()
        for callback, expires in store.read(self._path, now):
            if callback not in self._expected:
                self._expect(callback, expires - now)

    def _expect(self, callback: Callback, seconds: float) -> None:
        port = callback.port
        refusal = self._proxy.expect(callback, seconds)
        if port in self._proxy.ports():
            self._expected[callback] = time.time() + seconds
            self.send("log_writer", Log("callback-open", {"port": port}))
        if refusal is not None:
            self._refuse(refusal)
        elif port == self._problem[0]:
            self._report_problem(0, "")

    def _refuse(self, refusal: Refusal) -> None:
        port, reason = refusal
        self.send("log_writer", Log("callback-failed", {"port": port, "err": reason}))
        text = f"port {port} {reason}: a login on {self._destination} that waits for its answer there can't be finished"
        self._report_problem(port, text)
        self.after(LONGEST, ForgetProblem())
        if port >= LOWEST_PORT:  # a login that waits on a lower port is rare, a link that merely names one is not
            self.spawn_reader(lambda: notify("nssh", text), "notify")

    def _report_problem(self, port: int, text: str) -> None:
        self._problem = (port, text)
        self.send("session_registry", Problem("callback", text))

    def _forget(self, port: int) -> None:
        """Remove a port's callbacks from those that are stored: its login has succeeded or ended."""
        self._expected = {one: until for one, until in self._expected.items() if one.port != port}
        self._save()

    def _save(self) -> None:
        now = time.time()
        self._expected = {one: until for one, until in self._expected.items() if until > now}
        try:
            store.write(self._path, [store.Expected(*entry) for entry in self._expected.items()])
        except OSError as error:
            self.send("log_writer", Log("record-failed", {"err": error.strerror or type(error).__name__}))

    # --- On the threads that forward a connection ---------------------------------------------------------------------

    def _dial(self, addresses: Sequence[str], port: int) -> Channel:
        """Open a channel to a port of the remote; if the connection is lost, wait `_REACH` seconds for the next one.

        Raises:
            ConnectError: Nothing listens on the port (kind `refused`), or no channel opened in time.
        """
        deadline = time.monotonic() + _REACH
        while True:
            try:
                connection = self._borrow()
                try:
                    return self._opener.open(connection, addresses, port, timeout=_ATTEMPT)
                except ConnectError as error:
                    if error.kind != "refused":
                        self.send("remote_host", ConnectionBroken(connection))
                    raise
            except ConnectError as error:
                if error.kind == "refused" or time.monotonic() > deadline or self._stopping.wait(_PAUSE):
                    raise

    def _borrow(self) -> Connection:
        try:
            connection: Connection = self.ask("remote_host", BorrowConnection(), _LEND)
        except ConnectError:
            raise
        except Exception:  # noqa: BLE001 - a crash of the remote host, which is reported there; this actor goes on
            text = f"{self._destination}: the connection's owner failed and is restarted"
            raise ConnectError(text, "closed") from None
        return connection


def _confirm(asker: socket.socket) -> None:
    """Tell a client of the control socket that its callbacks are listened for, and close its connection."""
    with asker, contextlib.suppress(OSError):  # the client may have gone
        asker.sendall(b'{"expected": true}\n')
