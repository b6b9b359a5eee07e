"""Who is listening: live streams by topic, and how a publisher wakes them without ever waiting for one."""

from __future__ import annotations

import os
import select
import threading
from socket import MSG_PEEK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

_PEER_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)


class Listener:
    """One live stream's wake-up call: a pipe, so that its thread can wait for it and for the peer's end at once.

    `wake` may be called from any thread while the listener is in the hub; the rest belongs to the stream's thread.
    """

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        self._poll.register(connection.fileno(), select.POLLIN | _PEER_GONE)

    def wake(self) -> None:
        """Make `wait` return."""
        try:
            os.write(self._write, b".")
        except BlockingIOError:
            return  # the pipe is full of earlier calls

    def wait(self, timeout: float) -> bool:
        """Wait for a wake-up call or `timeout` seconds; return whether the peer is still there.

        A call that came since the last `wait` counts: whoever reads the store after `wait` misses nothing.
        """
        for fd, event in self._poll.poll(max(0.0, timeout) * 1000):
            if fd == self._read:
                self._drain()
            elif event & _PEER_GONE or not self._peek():
                return False
        return True

    def _drain(self) -> None:
        try:
            while len(os.read(self._read, 4096)) == 4096:
                pass
        except BlockingIOError:
            return

    def _peek(self) -> bool:
        """Look at what the peer sent in the middle of its stream: its end, or a next request, which has to wait."""
        self._connection.settimeout(0)
        try:
            if not self._connection.recv(1, MSG_PEEK):
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._poll.modify(self._connection.fileno(), _PEER_GONE)
        return True

    def close(self) -> None:
        """Release the pipe; the listener must have left the hub."""
        os.close(self._read)
        os.close(self._write)


class Hub:
    """The live streams; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, list[Listener]] = {}

    def add(self, topic: str, listener: Listener) -> None:
        """Let `listener` be woken for `topic`."""
        with self._lock:
            self._listeners.setdefault(topic, []).append(listener)

    def remove(self, topic: str, listener: Listener) -> None:
        """Undo `add`."""
        with self._lock:
            listeners = self._listeners[topic]
            listeners.remove(listener)
            if not listeners:
                del self._listeners[topic]

    def wake(self, topic: str) -> int:
        """Wake the topic's streams and return how many there are; called after the message is in the store."""
        with self._lock:
            listeners = self._listeners.get(topic, ())
            for listener in listeners:
                listener.wake()
            return len(listeners)
