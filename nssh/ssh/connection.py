"""The one protocol behind which every way to the remote stands."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Completed(NamedTuple):
    """A command that ended: exit status (255 if a signal ended it), and output cut at the limit asked for."""

    status: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False


class ByteStream(Protocol):
    """What a stream to the remote can do: the part of `socket.socket` that http.client needs."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Return what has arrived, at most `size` bytes, waiting for the first; empty at the end."""
        ...

    def settimeout(self, seconds: float | None, /) -> None:
        """Let `recv` and `sendall` raise TimeoutError when nothing moves for so long."""
        ...

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when `recv` would not wait."""
        ...

    def close(self) -> None:
        """End it, at once; may be called twice, and from another thread than the one that waits in `recv`."""
        ...


class Channel(ByteStream, Protocol):
    """A stream whose output can be ended while answers still arrive."""

    def send_eof(self) -> None:
        """End what is sent from here (half-close); raises OSError when the connection is gone."""
        ...


class Connection(Protocol):
    """A live, authenticated connection to one remote; usable from any thread.

    Every call raises `ConnectError` when the connection is gone or a deadline (seconds) passes. Commands
    are given to the user's login shell on the remote, whichever that is: keep them to words any shell understands (see
    `framing.BOOTSTRAP`), and feed anything longer on stdin.
    """

    name: str
    """`control`, `paramiko` or `batch`."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        """Run a command to its end; stdin is closed after the input. Output beyond `limit` bytes a stream is cut."""
        ...

    def open_stream(self, command: str, *, timeout: float = 15.0) -> Channel:
        """Start a command and return its stdin and stdout as one bidirectional stream."""
        ...

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> Channel:
        """Open a channel to a TCP port as seen from the remote."""
        ...

    def put(self, data: bytes, path: str, *, timeout: float = 60.0) -> None:
        """Write a 0600 file on the remote, atomically; `path` is absolute or relative to the home directory."""
        ...

    def alive(self) -> bool:
        """Whether the connection still answers, by a cheap check of a second at most."""
        ...

    def close(self) -> None:
        """Give the connection up; streams opened through it end. Never raises, may be called twice."""
        ...
