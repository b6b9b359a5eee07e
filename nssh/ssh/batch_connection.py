"""One `ssh -o BatchMode=yes` a command, for what only OpenSSH can do: Kerberos, security keys, Match exec."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh import reasons, script
from nssh.ssh._pump import Pipes, Pump
from nssh.ssh._streams import SocketStream
from nssh.ssh.connection import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.ssh.identity import Target

# Of the user's options those that say how to connect; the rest (-t, -N, -f, -L, -v, …) is about their own session.
_FLAGS = frozenset("46CKk")
_VALUED = frozenset("BbcFIiJlmop")
_OTHER_VALUED = frozenset("DEeLOPQRSWw")

_SSH_FAILED = 255
_GRACE = 1.0  # seconds between asking a process to end and killing it
_LOG_LIMIT = 1 << 14
_OPENS = 1.0  # seconds within which an ssh opens its log, hundreds of times what it takes


def connection_options(options: Sequence[str]) -> list[str]:
    """Return those of ssh's options that matter for reaching and entering the host."""
    kept: list[str] = []
    words = iter(options)
    for word in words:
        for index, letter in enumerate(word[1:], 1):
            if letter in _FLAGS:
                kept.append(f"-{letter}")
            elif letter in _VALUED or letter in _OTHER_VALUED:
                value = word[index + 1 :] or next(words, "")
                if letter in _VALUED:
                    kept += [f"-{letter}", value]
                break
    return kept


def _own_words(log: str, stderr: bytes) -> str:
    """Return what ssh said about its failure, or `` if status 255 is the remote command's own (or a signal's).

    It logs its reasons, but the end of a connection that was up is told on stderr, with a carriage return that a
    command without a terminal has no reason for.
    """
    if any(line.strip() and not line.startswith("Warning:") for line in log.splitlines()):
        return log
    last = stderr.rpartition(b"\n")[0].rpartition(b"\n")[2]
    if last.endswith(b"\r") and last.startswith((b"Connection to ", b"Read from remote host ")):
        return last.decode("utf-8", "replace")
    return ""


class BatchConnection:
    """Connection that logs in anew for each command; see `nssh.ssh.connection.Connection`.

    ssh runs in a session of its own, without a terminal and without askpass: it can't ask anybody anything. Its
    messages go to a FIFO (`-E`), so that they are told from the remote command's stderr.
    """

    name = "batch"

    def __init__(self, target: Target) -> None:
        """Take a target; nothing is opened yet."""
        self.target = target
        self._lock = threading.Lock()
        self._running: set[_Ssh] = set()
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
        """See `Connection.open_stream`; returns once the remote has let us in."""
        return self._stream([command], [], timeout)

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> SocketStream:
        """See `Connection.open_port`; a port that refuses shows as the stream's end at once: ssh -W tells no sooner."""
        bracketed = f"[{host}]" if ":" in host else host
        return self._stream([], ["-W", f"{bracketed}:{port}"], timeout)

    def put(self, data: bytes, path: str, *, timeout: float = 60.0) -> None:
        """See `Connection.put`."""
        script.put(self, data, path, timeout)

    def alive(self) -> bool:
        """Whether it was not closed: there is no connection between commands that could be asked."""
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
        # A jump host's ssh is a child of ours and writes to our stderr, not to our log.
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
        # What a configuration may say about the user's own session. Older versions don't know all of them, so only
        # those that ssh -G reports are set.
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
               more: Sequence[str] = ()) -> _Ssh:  # fmt: skip
        with self._lock:
            if self._closed:
                raise ConnectError(f"{self.target.destination}: the connection was closed", "closed")
        fifo = os.path.join(tempfile.mkdtemp(prefix="nssh-"), "log")  # 0700
        arguments = self._arguments(timeout, level, fifo)
        ssh = _Ssh([*arguments, *more, "--", self.target.destination, *command], fifo, files)
        with self._lock:
            self._running.add(ssh)
            closed = self._closed
        if closed:
            self._stop(ssh)
            raise ConnectError(f"{self.target.destination}: the connection was closed", "closed")
        return ssh

    def _stop(self, ssh: _Ssh) -> None:
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
            # At this level ssh tells when it is in: "Authenticated to devbox …", the same words since OpenSSH 5.
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

    def _stream_error(self, ssh: _Ssh, stderr: int, timeout: float) -> ConnectError:
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


class _Ssh:
    """A running ssh, in a session of its own, whose messages come through a FIFO: the only one in its directory."""

    def __init__(self, argv: Sequence[str], fifo: str, files: tuple[int, int, int]) -> None:
        self._fifo = fifo
        os.mkfifo(fifo, 0o600)
        self._log = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._words = ""
        self._lock = threading.Lock()
        self._stopped = False
        # An askpass that can't be: older versions don't know the first variable.
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
        """Remove the FIFO's name when ssh has opened it, first of all: should we be killed, nobody else would.

        It stays until the end where that takes long: a program around ssh may have other things to do before.
        """
        deadline = time.monotonic() + _OPENS
        pause = 0.001
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self._words = os.read(self._log, _LOG_LIMIT).decode("utf-8", "replace")
                opened = bool(self._words)
            except BlockingIOError:
                opened = True  # and nothing was said yet
            if opened:
                self._forget_name()
                return
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def _forget_name(self) -> None:
        if self._fifo:
            shutil.rmtree(os.path.dirname(self._fifo), ignore_errors=True)
            self._fifo = ""

    def log(self) -> str:
        """Return what ssh said so far, of which the first 16 KiB are kept."""
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
        """Wait until ssh said `word`; False if it ended, or the deadline passed, without."""
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
            # Its end is a hang-up, but not on a FIFO that it never opened: look at the process now and then.
            poll.poll(min(pause, remaining) * 1000)
            pause = min(pause * 2, 0.1)

    def stop(self) -> None:
        """End it with its proxies and collect it; a second at most, then they are killed."""
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
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended just now
            os.killpg(self.process.pid, number)
