"""One connection of a browser to a callback, carried to the port on the remote: two threads, a chunk of memory each."""

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
# Seconds that a client may take to notice that the server, or we, have said all.
_LINGER = 5.0


class ConnectionFlow(Protocol):
    """What a carrier tells of its connection, and asks about its flow; from its own threads."""

    port: int
    paths: frozenset[str]

    def dial(self) -> Channel:
        """Reach the port on the remote; raises `ConnectError`, of kind `refused` if nothing listens there."""
        ...

    def moved(self) -> None:
        """Note that something was carried."""
        ...

    def succeeded(self) -> None:
        """Note that the callback came, and was taken."""
        ...


class CarriedConnection:
    """Carries one connection, whose first bytes have been read, until both sides have said all, or it is cut."""

    def __init__(
        self,
        client: socket.socket,
        head: bytes,
        flow: ConnectionFlow,
        ended: Callable[[CarriedConnection], None],
        *,
        refusal: bytes = b"",
    ) -> None:
        """Make one; nothing happens yet.

        Args:
            client: A blocking socket, which is taken over.
            head: What was read from it.
            flow: Its flow.
            ended: Called on a thread of the carrier, once, at its end.
            refusal: Its answer, if it is to be answered here and not carried.
        """
        self.head = head
        self.answered = False
        """Whether anything came back."""
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
        """What ended it that should not exist; for whoever owns it to raise."""
        self._thread = threading.Thread(target=self._run, name=f"callback-{flow.port}", daemon=True)

    def start(self) -> None:
        """Begin; everything else happens on the carrier's own threads."""
        self._thread.start()

    def cut(self) -> None:
        """End it now, whatever is under way; any thread, may be called twice."""
        with self._lock:
            self._cut = True
            channel = self._channel
        _shut_down(self._client, socket.SHUT_RDWR)
        if channel is not None:
            channel.close()

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._carry()
        except BaseException as error:  # noqa: BLE001 - handed to the owner: a thread of ours must not end silently
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
                return  # the server wants no more; what it has to say may still arrive
            self._flow.moved()
            try:
                data = self._client.recv(_CHUNK)
            except OSError:
                channel.close()
                return
        with contextlib.suppress(OSError):  # the other half finds out by itself
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
        except OSError:  # the client is gone, or the connection
            _shut_down(self._client, socket.SHUT_RDWR)
            channel.close()
            return
        # The rest of what the client has to say may still be of use, but not for long.
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
            while self._client.recv(_CHUNK):  # closed with something unread, it would be reset and the answer lost
                pass


def _shut_down(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # the other end is gone
        sock.shutdown(how)
