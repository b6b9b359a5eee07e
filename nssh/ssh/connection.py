"""The protocol that every kind of connection to a remote implements."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Completed(NamedTuple):
    """A command that ended: its status, and its output cut at the limit that was asked for."""

    status: int
    """The exit status; 255 if a signal ended the command, as ssh reports it."""
    stdout: bytes
    stderr: bytes
    truncated: bool = False


class ByteStream(Protocol):
    """A stream to the remote: the part of `socket.socket` that http.client uses."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of `data`; raises OSError when the other end is gone."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Wait for bytes and return what has arrived, at most `size` bytes; empty at the end of the stream."""
        ...

    def settimeout(self, seconds: float | None, /) -> None:
        """Let `recv` and `sendall` raise TimeoutError after `seconds` without progress; None: never."""
        ...

    def fileno(self) -> int:
        """Return a descriptor that is readable when `recv` would not wait."""
        ...

    def close(self) -> None:
        """Close the stream at once, waking a thread that waits in `recv`; any thread, any number of times."""
        ...


class Channel(ByteStream, Protocol):
    """A stream whose sending side can be ended alone, while answers still arrive."""

    def send_eof(self) -> None:
        """End the sending side (half-close); raises OSError when the connection is gone."""
        ...


class Connection(Protocol):
    """A live, authenticated connection to one remote; usable from any thread.

    Every call blocks for `timeout` seconds at most, and raises `ConnectError` when the connection is gone or that time
    is over. Commands are run by the user's login shell on the remote, which may be any: use only words that all shells
    understand (see `framing.BOOTSTRAP`), and send anything longer on stdin.
    """

    name: str
    """`control`, `paramiko` or `batch`."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        """Run a command with the input `stdin` to its end; stdout and stderr are cut at `limit` bytes each."""
        ...

    def open_stream(self, command: str, *, timeout: float = 15.0) -> Channel:
        """Start a command and return its stdin and stdout as one bidirectional stream."""
        ...

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> Channel:
        """Open a channel to a TCP port, with `host` as the remote resolves it."""
        ...

    def alive(self) -> bool:
        """Whether the connection still answers, by a check of a second at most."""
        ...

    def close(self) -> None:
        """Close the connection and all streams opened through it. Never raises, may be called twice."""
        ...
