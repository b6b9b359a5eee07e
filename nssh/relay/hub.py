"""Keep the live streams by topic, and let publishers wake them without waiting."""

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
    """Wakes the thread of one live stream, by a pipe, so that the thread can wait for the end of its client as well.

    While the listener is in the hub, any thread may call `wake`; the other methods are for the stream's thread.
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
            return  # the pipe is full of earlier wake-ups

    def wait(self, timeout: float) -> bool:
        """Wait for a wake-up, for `timeout` seconds at most; return whether the client is still there.

        A wake-up since the last `wait` counts, so that a thread which reads the store after `wait` misses no message.
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
        """Return False if the client has ended the connection; a further request that it sent has to wait."""
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
        """Close the pipe; the listener must have been removed from the hub."""
        os.close(self._read)
        os.close(self._write)


class Hub:
    """The live streams; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, list[Listener]] = {}

    def add(self, topic: str, listener: Listener) -> None:
        """Wake `listener` for messages of `topic` from now on."""
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
        """Wake the topic's streams; return their number. To be called when the message is in the store."""
        with self._lock:
            listeners = self._listeners.get(topic, ())
            for listener in listeners:
                listener.wake()
            return len(listeners)
