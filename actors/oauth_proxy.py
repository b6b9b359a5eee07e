"""Callbacks of logins that run on the remote: ports on the laptop that stand for theirs while they are waited for."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from actors.messages import Expect, FlowNews, ForgetComplaint, LeaseChanged, Lend, Log, Problem, Report, Suspect
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

# Seconds for a connection to come back while a browser waits, and for one attempt over it.
_REACH = 30.0
_ATTEMPT = 10.0
_LEND = 5.0
_PAUSE = 0.3


class Ports:
    """Whose the laptop's ports are: outlives a restart, so that a life that hangs keeps none from its successor."""

    def __init__(self) -> None:
        self._proxy: CallbackProxy | None = None

    def hand_over(self, proxy: CallbackProxy) -> None:
        """Close the proxy of the life before; this one's is next."""
        before, self._proxy = self._proxy, proxy
        if before is not None:
            before.close()


class OAuthProxy(BaseActor):
    """Listens before a browser is sent to a provider, until the login is over; see `nssh.local.callback_proxy`.

    What is waited for is on disk: after a restart, of this actor or of the bridge, it is listened for again, and by the
    next session of the topic if this one ends.
    """

    def __init__(self, context: Context, path: str, destination: str, ports: Ports) -> None:
        """Keep the parts: where the flows are stored, what the remote is called, who had the ports before."""
        super().__init__(context)
        self._path = path
        self._destination = destination
        self._ports = ports
        self._opener = PortOpener(destination)
        self._expected: dict[Callback, float] = {}
        self._complaint: tuple[int, str] = (0, "")
        self._over = threading.Event()
        self._proxy = CallbackProxy(self._dial, lambda news: self.post(FlowNews(news)))

    def started(self) -> None:
        """Serve; which flows there were is looked up once the lease is known to be ours."""
        self._ports.hand_over(self._proxy)
        self.spawn_reader(self._proxy.run, "proxy", close=self._close)
        self.send("session_registry", Report(self.context.id))

    def handle(self, message: Expect | FlowNews | LeaseChanged | Report | ForgetComplaint) -> None:
        """Listen for callbacks; or take note of a flow's end."""
        match message:
            case Expect(callbacks, asker):
                for callback in callbacks:
                    self._expect(callback, LONGEST)
                self._save()
                if asker is not None:
                    _tell(asker)
            case FlowNews(FlowSucceeded(port)):
                self._forget(port)
            case FlowNews(FlowEnded(port, reason, connections)):
                self._forget(port)
                fields: dict[str, object] = {"port": port, "reason": reason, "connections": connections}
                self.send("log_writer", Log("callback-end", fields))
            case LeaseChanged(held):
                if held:
                    self._adopt()
            case Report(to):
                self.send(to, Problem("callback", self._complaint[1]))
            case ForgetComplaint():
                self._complain(0, "")

    def stopped(self) -> None:
        """Give the ports back; what is on disk stays, for whoever comes next."""
        self._close()

    def _close(self) -> None:
        self._over.set()
        self._proxy.close()

    def _adopt(self) -> None:
        """Listen for what a life, a bridge or a session before this one was waiting for."""
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
        elif port == self._complaint[0]:
            self._complain(0, "")

    def _refuse(self, refusal: Refusal) -> None:
        port, reason = refusal
        self.send("log_writer", Log("callback-failed", {"port": port, "err": reason}))
        text = f"port {port} {reason}: a login on {self._destination} that waits for its answer there can't be finished"
        self._complain(port, text)
        self.after(LONGEST, ForgetComplaint())
        if port >= LOWEST_PORT:  # a lower one is nobody's login as a rule, but a page or a redirect for show
            self.spawn_reader(lambda: notify("nssh", text), "notify")

    def _complain(self, port: int, text: str) -> None:
        self._complaint = (port, text)
        self.send("session_registry", Problem("callback", text))

    def _forget(self, port: int) -> None:
        """A login that is over, or as good as that, is nobody's to take up again."""
        self._expected = {one: until for one, until in self._expected.items() if one.port != port}
        self._save()

    def _save(self) -> None:
        now = time.time()
        self._expected = {one: until for one, until in self._expected.items() if until > now}
        try:
            store.write(self._path, [store.Expected(*entry) for entry in self._expected.items()])
        except OSError as error:
            self.send("log_writer", Log("record-failed", {"err": error.strerror or type(error).__name__}))

    # On carriers' threads.

    def _dial(self, addresses: Sequence[str], port: int) -> Channel:
        """Reach a port of the remote over the connection there is, or the one that is being made.

        Raises:
            ConnectError: Nothing listens there (kind `refused`), or no connection came in time.
        """
        deadline = time.monotonic() + _REACH
        while True:
            try:
                connection = self._borrow()
                try:
                    return self._opener.open(connection, addresses, port, timeout=_ATTEMPT)
                except ConnectError as error:
                    if error.kind != "refused":
                        self.send("remote_host", Suspect(connection))
                    raise
            except ConnectError as error:
                if error.kind == "refused" or time.monotonic() > deadline or self._over.wait(_PAUSE):
                    raise

    def _borrow(self) -> Connection:
        try:
            connection: Connection = self.ask("remote_host", Lend(), _LEND)
        except ConnectError:
            raise
        except Exception:  # noqa: BLE001 - its crash is its own: reported there, and no reason to crash here
            text = f"{self._destination}: the connection's owner failed and is restarted"
            raise ConnectError(text, "closed") from None
        return connection


def _tell(asker: socket.socket) -> None:
    """Answer who asked over the control socket."""
    with asker, contextlib.suppress(OSError):  # whoever asked has gone
        asker.sendall(b'{"expected": true}\n')
