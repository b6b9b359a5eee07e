"""Forwards a browser's connection to a callback's port on the remote, by two threads with a buffer each."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Protocol

from nssh.base.errors import ConnectError
from nssh.local import callback_http as http

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.ssh.connection import Channel

_CHUNK = 1 << 16
# Seconds for a client to read the rest and close, once the answer is complete.
_LINGER = 5.0


class ConnectionFlow(Protocol):
    """The login flow, as a connection's threads see it."""

    port: int
    paths: frozenset[str]

    def dial(self) -> Channel:
        """Connect to the port on the remote; raises `ConnectError`, of kind `refused` if nothing listens there."""
        ...

    def moved(self) -> None:
        """Note that data was forwarded."""
        ...

    def succeeded(self) -> None:
        """Note that the remote's program accepted the callback."""
        ...


class CarriedConnection:
    """Forwards one connection until both sides have closed it, or `cut` is called."""

    def __init__(
        self,
        client: socket.socket,
        head: bytes,
        flow: ConnectionFlow,
        ended: Callable[[CarriedConnection], None],
        *,
        refusal: bytes = b"",
    ) -> None:
        """Keep the arguments; `start` begins.

        Args:
            client: The browser's connection, a blocking socket, which is closed at the end.
            head: The bytes that were read from it already.
            flow: The connection's login flow.
            ended: Called on a thread of this connection, once, at its end.
            refusal: The answer to send instead of forwarding; empty to forward.
        """
        self.head = head
        self.answered = False
        """Whether the remote has answered."""
        self._client = client
        self._flow = flow
        self._ended = ended
        self._refusal = refusal
        self._secure = http.is_tls(head)
        self._conversation = http.Conversation(frozenset() if self._secure else flow.paths)
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._cut = False
        self.failure: BaseException | None = None
        """An unexpected exception that ended the connection, for the owner to raise; otherwise None."""
        self._thread = threading.Thread(target=self._run, name=f"callback-{flow.port}", daemon=True)

    def start(self) -> None:
        """Start forwarding, on threads of its own."""
        self._thread.start()

    def cut(self) -> None:
        """End the connection now. Any thread may call this, more than once."""
        with self._lock:
            self._cut = True
            channel = self._channel
        _shut_down(self._client, socket.SHUT_RDWR)
        if channel is not None:
            channel.close()

    def join(self, seconds: float) -> None:
        """Wait for the connection's end, for some seconds at most."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._carry()
        except BaseException as error:  # noqa: BLE001 - the owner raises it: this thread must not end silently
            self.failure = error
        finally:
            if self._channel is not None:
                self._channel.close()
            self._client.close()
            self._ended(self)

    def _carry(self) -> None:
        if self._refusal:
            self._refuse(self._refusal)
            return
        try:
            channel = self._flow.dial()
        except ConnectError as error:
            self._refuse(http.unreached(error))
            return
        with self._lock:
            self._channel = channel
            cut = self._cut
        if cut:
            return
        said_all = threading.Event()
        downward = threading.Thread(target=self._down, args=(channel, said_all), name=f"{self._thread.name}-answer")
        downward.daemon = True
        downward.start()
        try:
            self._up(channel)
        finally:
            said_all.set()
            downward.join()

    def _up(self, channel: Channel) -> None:
        data = self.head
        while data:
            self._conversation.sent(data)
            try:
                channel.sendall(data)
            except OSError:
                return  # the server reads no more; its answer may still arrive
            self._flow.moved()
            try:
                data = self._client.recv(_CHUNK)
            except OSError:
                channel.close()
                return
        with contextlib.suppress(OSError):  # `_down` sees the same failure
            channel.send_eof()

    def _down(self, channel: Channel, said_all: threading.Event) -> None:
        try:
            while data := channel.recv(_CHUNK):
                self.answered = True
                done = self._conversation.answered(data)
                self._client.sendall(data)
                self._flow.moved()
                if done:
                    self._flow.succeeded()
        except OSError:  # the client has gone, or the connection to the remote is lost
            _shut_down(self._client, socket.SHUT_RDWR)
            channel.close()
            return
        # The server has closed. It may still read what the client sends, but the client must not stay for long.
        _shut_down(self._client, socket.SHUT_WR)
        if not said_all.wait(_LINGER):
            _shut_down(self._client, socket.SHUT_RDWR)

    def _refuse(self, answer: bytes) -> None:
        if self._cut or self._secure:
            return
        with contextlib.suppress(OSError):
            self._client.settimeout(_LINGER)
            self._client.sendall(answer)
            self._client.shutdown(socket.SHUT_WR)
            while self._client.recv(_CHUNK):  # closing with unread data would send a reset, and lose the answer
                pass


def _shut_down(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # the other end has gone
        sock.shutdown(how)
