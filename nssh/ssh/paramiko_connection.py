"""A connection of our own by paramiko, set up as `ssh -G` says: quick to make, and kept for many commands."""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import threading
import time
from typing import TYPE_CHECKING

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from nssh.base.errors import ConnectError
from nssh.ssh import _channels, script
from nssh.ssh._link import Link
from nssh.ssh._streams import Stream
from nssh.ssh.connection import Completed

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.ssh.identity import Target

_CHUNK = 1 << 15
_SMALL = 1 << 14  # bytes of input that fit any server's first window, so that sending them waits for nobody
_TAIL = 4096
_CHECK = 1.0  # seconds for `alive`
_KILLED = 255  # what ssh itself reports for a command that was ended by a signal

# paramiko raises what it logs; tracebacks of lost connections belong neither on a terminal nor into a bridge's log.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


class ParamikoConnection:
    """Connection by paramiko; see `nssh.ssh.connection.Connection`."""

    name = "paramiko"

    def __init__(self, target: Target, timeout: float = 15.0) -> None:
        """Connect and log in, within `timeout` seconds; never asks for a password, a passphrase or a host key.

        Raises:
            UnsupportedError: The configuration wants what only OpenSSH can do.
            ConnectError: With ssh's words for it; kind `hostkey` for a changed or unknown key.
        """
        self.target = target
        self._lock = threading.Lock()
        self._streams: set[_ChannelStream] = set()
        self._closed = False
        self._link = Link(target, time.monotonic() + timeout)
        self.method = self._link.method
        """What let us in, for people."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        """See `Connection.run`; a command that a signal ended has status 255, as ssh reports it."""
        deadline = time.monotonic() + timeout
        channel = self._open_session(command, deadline, stdin)
        try:
            output = _Output(channel, limit)
            if len(stdin) > _SMALL:
                _channels.send_input(channel, stdin)
            if not output.read(deadline) or not channel.status_event.wait(max(deadline - time.monotonic(), 0)):
                raise self._error(f"a command took longer than {timeout:g} s", "timeout")
            status = channel.exit_status
        finally:
            _channels.close(channel)
        if status < 0:
            # No status: a signal, or the end of the connection, which paramiko tells its channels before it tells us.
            if not self.alive():
                raise self._error("the connection was lost while a command ran", "closed")
            status = _KILLED
        return Completed(status, bytes(output.stdout), bytes(output.stderr), output.truncated)

    def open_stream(self, command: str, *, timeout: float = 15.0) -> _ChannelStream:
        """See `Connection.open_stream`; the stream has the end of the command's stderr in `stderr`."""
        return self._stream(self._open_session(command, time.monotonic() + timeout))

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> _ChannelStream:
        """See `Connection.open_port`."""
        deadline = time.monotonic() + timeout
        return self._stream(self._open(lambda: self._link.open_port(host, port, deadline), deadline))

    def put(self, data: bytes, path: str, *, timeout: float = 60.0) -> None:
        """See `Connection.put`."""
        script.put(self, data, path, timeout)

    def alive(self) -> bool:
        """Whether the remote opened a channel within a second: one round trip, which every server can answer."""
        deadline = time.monotonic() + _CHECK
        try:
            channel = self._open(lambda: self._link.open_session(deadline), deadline)
        except ConnectError as error:
            # Refused is an answer, too: too many sessions, say.
            return error.kind == "refused" and not self._closed
        _channels.close(channel)
        return True

    def close(self) -> None:
        """See `Connection.close`; waits a second at most for paramiko's thread."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, set()
        # First the link: whoever is stuck sending is woken by that.
        self._link.close()
        for stream in streams:
            stream.close()

    def _error(self, text: str, kind: str) -> ConnectError:
        return ConnectError(f"{self.target.destination}: {text}", kind)

    def _open_session(self, command: str, deadline: float, stdin: bytes | None = None) -> paramiko.Channel:
        def work() -> paramiko.Channel:
            channel = self._link.open_session(deadline)
            # Not exec_command, which waits for the answer without a deadline; asking for none saves a round trip, and a
            # server that refuses closes the channel.
            message = paramiko.Message()
            message.add_byte(cMSG_CHANNEL_REQUEST)
            message.add_int(channel.remote_chanid)
            message.add_string("exec")
            message.add_boolean(b=False)
            message.add_string(command)
            _channels.send_request(channel, message)
            if stdin is not None and len(stdin) <= _SMALL:
                with contextlib.suppress(OSError):  # it ended without reading all
                    _channels.send_all(channel, stdin, deadline)
                    _channels.send_eof(channel)
            return channel

        return self._open(work, deadline)

    def _open(self, work: Callable[[], paramiko.Channel], deadline: float) -> paramiko.Channel:
        if self._closed:
            raise self._error("the connection was closed", "closed")
        try:
            return _channels.bounded(work, deadline, _channels.close)
        except TimeoutError:
            raise self._error("the connection does not answer", "timeout") from None
        except paramiko.ChannelException as error:
            raise self._error(f"channel refused: {error.text}", "refused") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            if self._link.transport.is_active():
                raise self._error("the connection does not answer", "timeout") from error
            raise self._error("the connection is gone", "closed") from error

    def _stream(self, channel: paramiko.Channel) -> _ChannelStream:
        stream = _ChannelStream(channel, self._forget)
        with self._lock:
            closed = self._closed
            if not closed:
                self._streams.add(stream)
        if closed:
            stream.close()
            raise self._error("the connection was closed", "closed")
        return stream

    def _forget(self, stream: _ChannelStream) -> None:
        with self._lock:
            self._streams.discard(stream)


class _Output:
    """What a command writes, cut at a limit."""

    def __init__(self, channel: paramiko.Channel, limit: int) -> None:
        self._channel = channel
        self._limit = limit
        self._arrived = _Bell(channel)
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.truncated = False

    def read(self, deadline: float) -> bool:
        """Read to the end of both; False if the deadline passed before it."""
        channel = self._channel
        while True:
            self._arrived.reset()
            ended = channel.eof_received or channel.closed
            while channel.recv_ready():
                self._take(self.stdout, channel.recv(_CHUNK))
            while channel.recv_stderr_ready():
                self._take(self.stderr, channel.recv_stderr(_CHUNK))
            if ended:
                return True
            if not self._arrived.wait(max(deadline - time.monotonic(), 0)):
                return False

    def _take(self, into: bytearray, part: bytes) -> None:
        room = self._limit - len(into)
        self.truncated = self.truncated or len(part) > room
        into += part[: max(room, 0)]


class _Bell(threading.Event):
    """Rung when something arrives on a channel: stdout, stderr or the end.

    paramiko's buffers clear an event that they were given as soon as they run empty, which must not hide that the other
    one has something: only `reset` does, before its caller looks at both.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__()
        channel.in_buffer.set_event(self)
        channel.in_stderr_buffer.set_event(self)

    def clear(self) -> None:
        """Do nothing: this is paramiko's."""

    def reset(self) -> None:
        """Wait for the next ring."""
        super().clear()


class _ChannelStream(Stream):
    """A channel as a stream: what it lacks is an end to waiting when another thread closes it, and reading stderr."""

    def __init__(self, channel: paramiko.Channel, on_close: Callable[[_ChannelStream], None]) -> None:
        super().__init__()
        self._channel = channel
        self._on_close = on_close
        self._tail = b""
        self._fd = channel.fileno()

    def fileno(self) -> int:
        """See `ByteStream`; a pipe of paramiko's, for waiting only."""
        return -1 if self._ended else self._fd

    @property
    def stderr(self) -> str:
        """The last of what the command wrote to stderr, as read so far."""
        return self._tail.decode("utf-8", "replace")

    def recv(self, size: int, /) -> bytes:
        """See `ByteStream`."""
        deadline = self._deadline()
        channel = self._channel
        with self._inside() as usable:
            while usable and not self._closed:
                ended = channel.eof_received or channel.closed
                while channel.recv_stderr_ready():
                    self._tail = (self._tail + channel.recv_stderr(_CHUNK))[-_TAIL:]
                if channel.recv_ready():
                    return channel.recv(size)
                if ended:
                    break
                poll = select.poll()
                poll.register(self._fd, select.POLLIN)
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    raise TimeoutError("timed out")
                poll.poll(None if remaining is None else remaining * 1000)
        return b""

    def sendall(self, data: bytes, /) -> None:
        """See `ByteStream`.

        Raises:
            OSError: The command or the connection is gone.
        """
        with self._inside():
            if self._closed:
                raise BrokenPipeError(errno.EPIPE, "the stream is closed")
            _channels.send_all(self._channel, data, self._deadline())

    def send_eof(self) -> None:
        """See `Channel`."""
        with self._inside() as usable:
            if usable:
                _channels.send_eof(self._channel)

    def _wake(self) -> None:
        self._on_close(self)
        try:
            self._channel.in_buffer.close()  # wakes who waits in recv, at once
        except OSError:
            pass  # the transport's thread is closing it at this very moment, and the pipe behind fileno() is gone
        _channels.hang_up(self._channel)

    def _end(self) -> None:
        _channels.close(self._channel)
