"""A private relay for tests: the real daemon, in the foreground."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Self

import pytest

from tests.lab.system import check_marked
from tests.lab.tools import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


class RelayServer:
    """A relay with a state directory of its own; `stop`, `kill` and `start` again keep addresses and messages."""

    def __init__(self, *, keepalive: float = 45.0, python: str = sys.executable) -> None:
        check_marked("a relay")
        # Short, because the path of a unix socket is limited to about 100 bytes.
        self._directory = tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp")
        self.state = Path(self._directory.name) / "state"
        self.socket = self.state / "relay.sock"
        self._python = python
        self._keepalive = keepalive
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._directory.cleanup()

    def start(self) -> None:
        """Start it and wait until it says that it is ready; one that `dial` brings back meanwhile makes way."""
        while told := self._try_to_start():
            if "another relay is running" not in told:
                pytest.fail(f"the relay did not start: {told}")

    def _try_to_start(self) -> str:
        """Return the reason if it does not start."""
        self._end_daemon()
        words = ["serve", "--foreground", "--state", str(self.state), "--keepalive", str(self._keepalive)]
        words += ["--idle", "86400"]  # tests that share it may come at any distance of each other
        with (Path(self._directory.name) / "log").open("a+b") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [self._python, "-m", "nssh.relay", *words],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environ(),
            )
            assert self._process.stdout is not None
            is_ready = select.select([self._process.stdout], [], [], 30)[0]
            line = self._process.stdout.readline().decode() if is_ready else ""
            if line.startswith("ready "):
                return ""
            self._end(signal.SIGKILL)
            log.seek(begin)
            return log.read().decode()[-2000:] or "it says nothing"

    def environ(self) -> dict[str, str]:
        """Return an environment in which nothing of the user's state is found."""
        return {**os.environ, "HOME": self._directory.name, "XDG_STATE_HOME": self._directory.name}

    def _end_daemon(self) -> None:
        """End the daemon that `dial` started, if any; the lock's holder is the process that the lock file names."""
        lock = self.state / "relay" / "lock"
        if not lock.exists():
            return
        with lock.open("r+b") as file:
            wait_until(lambda: _is_freed(file), "the daemon's end")

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        self._end_daemon()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing comes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # when all of its threads have stopped

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()

    def dial(self) -> socket.socket:
        """Return a socket whose other end is the stdin and stdout of a process `nssh relay dial`."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [self._python, "-m", "nssh.relay", "dial", "--state", str(self.state)],
                cwd=CHECKOUT,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env=self.environ(),
            )
        threading.Thread(target=process.wait, daemon=True).start()  # it ends when our end is closed
        return ours


def _is_freed(lock: IO[bytes]) -> bool:
    """Get the lock, or ask its holder to end; one that has just got it may not have written its PID yet."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        if pid := int(lock.read().strip() or b"0"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return False
    return True
