"""Connect by paramiko, configured by `ssh -G`: one login, quick to make, kept for many commands."""

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
from nssh.ssh import _channels
from nssh.ssh._link import Link
from nssh.ssh._streams import ClosableStream
from nssh.ssh.connection import Completed

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.ssh.identity import Target

_CHUNK = 1 << 15
_SMALL = 1 << 14  # bytes of input that fit into any server's initial window, so that sending them does not block
_TAIL = 4096  # bytes of a stream's stderr that are kept
_CHECK = 1.0  # seconds for `alive`
_KILLED = 255  # the status that ssh reports for a command that a signal ended

# paramiko logs the tracebacks of errors that it raises as well; without a logging configuration Python prints them.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


class ParamikoConnection:
    """A connection by paramiko; implements `nssh.ssh.connection.Connection`."""

    name = "paramiko"

    def __init__(self, target: Target, timeout: float = 15.0) -> None:
        """Connect and log in, within `timeout` seconds, without asking for a password, a passphrase or a host key.

        Raises:
            UnsupportedError: The configuration needs OpenSSH itself.
            ConnectError: Any other failure, worded as ssh words it; kind `hostkey` for a changed or unknown host key.
        """
        self.target = target
        self._lock = threading.Lock()
        self._streams: set[_ChannelStream] = set()
        self._closed = False
        self._link = Link(target, time.monotonic() + timeout)
        self.method = self._link.method
        """Text for the user that names the key which was accepted."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        """See `Connection.run`."""
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
            # No status: either a signal ended the command, or the connection ended, which `alive` finds out.
            if not self.alive():
                raise self._error("the connection was lost while a command ran", "closed")
            status = _KILLED
        return Completed(status, bytes(output.stdout), bytes(output.stderr), output.truncated)

    def open_stream(self, command: str, *, timeout: float = 15.0) -> _ChannelStream:
        """See `Connection.open_stream`; the stream's `stderr` holds the end of the command's stderr."""
        return self._stream(self._open_session(command, time.monotonic() + timeout))

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> _ChannelStream:
        """See `Connection.open_port`."""
        deadline = time.monotonic() + timeout
        return self._stream(self._open(lambda: self._link.open_port(host, port, deadline), deadline))

    def alive(self) -> bool:
        """Whether the remote answers a request for a channel within a second: one round trip."""
        deadline = time.monotonic() + _CHECK
        try:
            channel = self._open(lambda: self._link.open_session(deadline), deadline)
        except ConnectError as error:
            # A refusal is an answer, too, for example by MaxSessions.
            return error.kind == "refused" and not self._closed
        _channels.close(channel)
        return True

    def close(self) -> None:
        """See `Connection.close`; waits a second at most for paramiko's thread."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, set()
        # First the link, because that wakes threads that are stuck in sending.
        self._link.close()
        for stream in streams:
            stream.close()

    def _error(self, text: str, kind: str) -> ConnectError:
        return ConnectError(f"{self.target.destination}: {text}", kind)

    def _open_session(self, command: str, deadline: float, stdin: bytes | None = None) -> paramiko.Channel:
        def work() -> paramiko.Channel:
            channel = self._link.open_session(deadline)
            # Not exec_command, which waits for an answer without a deadline. Here no answer is requested, which saves a
            # round trip; a server that refuses the command closes the channel.
            message = paramiko.Message()
            message.add_byte(cMSG_CHANNEL_REQUEST)
            message.add_int(channel.remote_chanid)
            message.add_string("exec")
            message.add_boolean(b=False)
            message.add_string(command)
            _channels.send_request(channel, message)
            if stdin is not None and len(stdin) <= _SMALL:
                with contextlib.suppress(OSError):  # the command ended without reading all of it
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
            # Asked before the transport, which goes on being active for a moment after it was told to close.
            if not self._closed and self._link.transport.is_active():
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
    """Collects a command's stdout and stderr, each cut at a limit."""

    def __init__(self, channel: paramiko.Channel, limit: int) -> None:
        self._channel = channel
        self._limit = limit
        self._arrived = _ArrivalEvent(channel)
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.truncated = False

    def read(self, deadline: float) -> bool:
        """Read both to their end; return False if the deadline passed first."""
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


class _ArrivalEvent(threading.Event):
    """An event that is set when stdout, stderr or the end arrives on a channel.

    paramiko's two buffers share the event, and each clears it when it runs empty, although the other one may hold data.
    So `clear` does nothing here; the reader calls `reset` and looks at both buffers afterwards.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__()
        channel.in_buffer.set_event(self)
        channel.in_stderr_buffer.set_event(self)

    def clear(self) -> None:
        """Do nothing; paramiko calls this."""

    def reset(self) -> None:
        """Clear the event."""
        super().clear()


class _ChannelStream(ClosableStream):
    """A channel as a stream that wakes its reader when another thread closes it, and that reads stderr along."""

    def __init__(self, channel: paramiko.Channel, on_close: Callable[[_ChannelStream], None]) -> None:
        super().__init__()
        self._channel = channel
        self._on_close = on_close
        self._tail = b""
        self._fd = channel.fileno()

    def fileno(self) -> int:
        """See `ByteStream`; a pipe that paramiko fills, only to be polled."""
        return -1 if self._ended else self._fd

    @property
    def stderr(self) -> str:
        """The end of what the command wrote to stderr so far, at most 4096 bytes."""
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
            self._channel.in_buffer.close()  # wakes the thread that waits in recv
        except OSError:
            pass  # paramiko's thread has just closed it, with the pipe behind fileno()
        _channels.hang_up(self._channel)

    def _end(self) -> None:
        _channels.close(self._channel)
