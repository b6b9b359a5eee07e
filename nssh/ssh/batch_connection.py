"""Run an `ssh -o BatchMode=yes` for each command, for what only OpenSSH can do: Kerberos, security keys, Match exec."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh import log_fifo, reasons
from nssh.ssh._pump import Pipes, Pump
from nssh.ssh._streams import SocketStream
from nssh.ssh.argv import VALUED
from nssh.ssh.connection import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.ssh.identity import Target

# Those of the user's options that say how to connect; the rest (-t, -N, -f, -L, -v, …) is about the user's session.
_CONNECTION_FLAGS = frozenset("46CKk")
_CONNECTION_VALUED = frozenset("BbcFIiJlmop")

_SSH_FAILED = 255
_GRACE = 1.0  # seconds from SIGTERM to SIGKILL
_LOG_LIMIT = 1 << 14
_LOG_OPEN_SECONDS = 1.0  # within which ssh opens its log; it takes a few milliseconds


def connection_options(options: Sequence[str]) -> list[str]:
    """Return those of ssh's options that say how to connect and log in."""
    kept: list[str] = []
    words = iter(options)
    for word in words:
        for index, letter in enumerate(word[1:], 1):
            if letter in _CONNECTION_FLAGS:
                kept.append(f"-{letter}")
            elif letter in VALUED:
                value = word[index + 1 :] or next(words, "")
                if letter in _CONNECTION_VALUED:
                    kept += [f"-{letter}", value]
                break
    return kept


def _own_words(log: str, stderr: bytes) -> str:
    """Return ssh's own message about its failure; empty if status 255 is the remote command's, or a signal's.

    ssh writes its messages to the log, except for the one about a connection that ended: that goes to stderr, with a
    carriage return at its end, which a command without a terminal would hardly write.
    """
    if any(line.strip() and not line.startswith("Warning:") for line in log.splitlines()):
        return log
    last = stderr.rpartition(b"\n")[0].rpartition(b"\n")[2]
    if last.endswith(b"\r") and last.startswith((b"Connection to ", b"Read from remote host ")):
        return last.decode("utf-8", "replace")
    return ""


class BatchConnection:
    """A connection that logs in anew for each command; implements `nssh.ssh.connection.Connection`.

    ssh runs in a session of its own, without a terminal and without askpass, so that it can't ask anything. Its
    messages go to a FIFO (`-E`), which tells them apart from the remote command's stderr.
    """

    name = "batch"

    def __init__(self, target: Target) -> None:
        """Keep the target; nothing is opened yet."""
        self.target = target
        self._lock = threading.Lock()
        self._running: set[_SshProcess] = set()
        self._streams: set[SocketStream] = set()
        self._closed = False

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        """See `Connection.run`."""
        deadline = time.monotonic() + timeout
        pipes = Pipes()
        try:
            ssh = self._start([command], timeout, pipes.far)
            try:
                pipes.close(*pipes.far)
                pump = Pump(pipes, stdin, limit)
                pump.run(deadline)
                status = ssh.process.wait(max(deadline - time.monotonic(), 0))
                log = ssh.log()
            except (TimeoutError, subprocess.TimeoutExpired):
                raise ConnectError(
                    f"{self.target.destination}: a command took longer than {timeout:g} s", "timeout"
                ) from None
            finally:
                self._stop(ssh)
        finally:
            pipes.close()
        if self._closed:
            raise ConnectError(f"{self.target.destination}: the connection was closed", "closed")
        if status == _SSH_FAILED and (words := _own_words(log, pump.stderr)):
            raise reasons.explain(self.target.destination, self._jump_words(pump.stderr) + words, status)
        if status < 0:
            raise ConnectError(f"{self.target.destination}: ssh was ended by signal {-status}", "closed")
        return Completed(status, pump.stdout, pump.stderr, pump.truncated)

    def open_stream(self, command: str, *, timeout: float = 15.0) -> SocketStream:
        """See `Connection.open_stream`; returns when the login has succeeded."""
        return self._stream([command], [], timeout)

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> SocketStream:
        """See `Connection.open_port`; but if the port refuses, no error is raised: the stream just ends (`ssh -W`)."""
        bracketed = f"[{host}]" if ":" in host else host
        return self._stream([], ["-W", f"{bracketed}:{port}"], timeout)

    def alive(self) -> bool:
        """Whether `close` was not called: between commands there is no connection that could be checked."""
        return not self._closed

    def close(self) -> None:
        """See `Connection.close`."""
        with self._lock:
            self._closed = True
            running, streams = list(self._running), list(self._streams)
        for stream in streams:
            stream.close()
        for ssh in running:
            self._stop(ssh)

    def _jump_words(self, stderr: bytes) -> str:
        # The ssh to a jump host is a child of our ssh, and writes to its stderr, not to its log.
        return stderr.decode("utf-8", "replace") + "\n" if self.target.proxied else ""

    def _arguments(self, timeout: float, level: str, log: str) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ControlMaster": "no",
            "ControlPath": "none",
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "PermitLocalCommand": "no",
            "ConnectTimeout": str(max(int(timeout), 1)),
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "3",
            "LogLevel": level,
        }
        # Settings that the configuration may have for the user's session. Older versions don't know all of them, so
        # only those that `ssh -G` reports are reset.
        session = {
            "remotecommand": ("RemoteCommand", "none"),
            "sessiontype": ("SessionType", "default"),
            "stdinnull": ("StdinNull", "no"),
            "forkafterauthentication": ("ForkAfterAuthentication", "no"),
        }
        options.update(value for key, value in session.items() if key in self.target.config)
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [*self.target.ssh, "-T", "-E", log, *words, *connection_options(self.target.options)]

    def _start(self, command: list[str], timeout: float, files: tuple[int, int, int], *, level: str = "INFO",
               more: Sequence[str] = ()) -> _SshProcess:  # fmt: skip
        with self._lock:
            if self._closed:
                raise ConnectError(f"{self.target.destination}: the connection was closed", "closed")
        fifo = log_fifo.make()
        arguments = self._arguments(timeout, level, fifo)
        ssh = _SshProcess([*arguments, *more, "--", self.target.destination, *command], fifo, files)
        with self._lock:
            self._running.add(ssh)
            closed = self._closed
        if closed:
            self._stop(ssh)
            raise ConnectError(f"{self.target.destination}: the connection was closed", "closed")
        return ssh

    def _stop(self, ssh: _SshProcess) -> None:
        ssh.stop()
        with self._lock:
            self._running.discard(ssh)

    def _stream(self, command: list[str], more: Sequence[str], timeout: float) -> SocketStream:
        deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as ours:
            near, far = socket.socketpair()
            undo.callback(near.close)
            ours.callback(far.close)
            reader, writer = os.pipe()
            undo.callback(os.close, reader)
            ours.callback(os.close, writer)
            # At this level ssh logs the success of its login: "Authenticated to devbox …", unchanged since OpenSSH 5.
            files = (far.fileno(), far.fileno(), writer)
            ssh = self._start(command, timeout, files, level="VERBOSE", more=more)
            undo.callback(self._stop, ssh)
            ours.close()
            if not ssh.wait_for("Authenticated to ", deadline):
                raise self._stream_error(ssh, reader, timeout)

            def on_close() -> None:
                with self._lock:
                    self._streams.discard(stream)
                self._stop(ssh)

            stream = SocketStream(near, reader, on_close)
            undo.pop_all()
        with self._lock:
            self._streams.add(stream)
            closed = self._closed
        if closed:
            stream.close()
            raise ConnectError(f"{self.target.destination}: the connection was closed", "closed")
        return stream

    def _stream_error(self, ssh: _SshProcess, stderr: int, timeout: float) -> ConnectError:
        destination = self.target.destination
        status = ssh.process.poll()
        if self._closed:
            return ConnectError(f"{destination}: the connection was closed", "closed")
        if status is None:
            return ConnectError(f"{destination}: no connection after {timeout:g} s", "timeout")
        os.set_blocking(stderr, False)
        with contextlib.suppress(BlockingIOError):
            return reasons.explain(destination, self._jump_words(os.read(stderr, _LOG_LIMIT)) + ssh.log(), status)
        return reasons.explain(destination, ssh.log(), status)


class _SshProcess:
    """A running ssh, in a session of its own, whose messages come through a FIFO, alone in a temporary directory."""

    def __init__(self, argv: Sequence[str], fifo: str, files: tuple[int, int, int]) -> None:
        self._fifo = fifo
        self._log = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._words = ""
        self._lock = threading.Lock()
        self._stopped = False
        # Older versions don't know the first variable: the second is an askpass that always fails.
        environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "SSH_ASKPASS": "false"}
        try:
            self.process = subprocess.Popen(
                argv, stdin=files[0], stdout=files[1], stderr=files[2], env=environment, start_new_session=True
            )
        except OSError as error:
            os.close(self._log)
            self._forget_name()
            raise ConnectError(f"{argv[0]}: {error.strerror}; install the OpenSSH client") from error

        self._await_log()

    def _await_log(self) -> None:
        """Wait until ssh has opened the FIFO, and remove it from its directory.

        If ssh takes too long, as one behind a wrapper may, the directory stays until `stop`.
        """
        deadline = time.monotonic() + _LOG_OPEN_SECONDS
        pause = 0.001
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self._words = os.read(self._log, _LOG_LIMIT).decode("utf-8", "replace")
                opened = bool(self._words)
            except BlockingIOError:
                opened = True  # and nothing was written yet
            if opened:
                self._forget_name()
                return
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def _forget_name(self) -> None:
        if self._fifo:
            log_fifo.remove(self._fifo)
            self._fifo = ""

    def log(self) -> str:
        """Return what ssh has logged so far, at most the first 16 KiB."""
        with self._lock:
            while not self._stopped:
                try:
                    part = os.read(self._log, _LOG_LIMIT)
                except BlockingIOError:
                    break
                if not part:
                    break
                self._words = (self._words + part.decode("utf-8", "replace"))[:_LOG_LIMIT]
            return self._words

    def wait_for(self, word: str, deadline: float) -> bool:
        """Wait until ssh has logged `word`; return False if ssh ended or the deadline passed without it."""
        poll = select.poll()
        poll.register(self._log, select.POLLIN)
        pause = 0.005
        while True:
            ended = self.process.poll() is not None
            if word in self.log():
                return True
            remaining = deadline - time.monotonic()
            if ended or remaining <= 0 or self._stopped:
                return False
            # ssh's end is a hang-up on the FIFO, unless ssh never opened it: so the process is checked as well.
            poll.poll(min(pause, remaining) * 1000)
            pause = min(pause * 2, 0.1)

    def stop(self) -> None:
        """End ssh and its proxy commands, by SIGTERM and after a second by SIGKILL, and wait for its end."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()
        os.close(self._log)
        self._forget_name()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the process has just ended
            os.killpg(self.process.pid, number)
