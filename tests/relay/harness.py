"""Real relay processes for the tests, on any interpreter, and short ways to talk to them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nssh.wire.http import Client, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(ROOT / "nssh/relay/__main__.py")
LIMIT = 30.0


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Poll `condition` until it is true, at doubling intervals from 5 ms, and return its value."""
    deadline = time.monotonic() + LIMIT
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, what
        time.sleep(pause)
        pause = min(2 * pause, 0.25)


class Relay:
    """One state directory, and the relay processes in it."""

    def __init__(self, interpreter: str = sys.executable) -> None:
        self.interpreter = interpreter
        self.state = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
        self.socket = self.state / "relay.sock"
        self.server = f"unix:{self.socket}"
        self.process: subprocess.Popen[str] | None = None

    def argv(self, command: str, *options: str) -> list[str]:
        return [self.interpreter, "-I", "-S", PROGRAM, command, "--state", str(self.state), *options]

    def serve(self, *options: str, limits: Callable[[], None] | None = None) -> Relay:
        """Start it as our own child, in the foreground."""
        self.process = subprocess.Popen(
            self.argv("serve", "--foreground", *options),
            stdout=subprocess.PIPE,
            stderr=(self.state / "stderr").open("a"),
            text=True,
            preexec_fn=limits,  # noqa: PLW1509  (resource limits only)
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == f"ready {self.server}\n", (self.state / "stderr").read_text()
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        """End our child with a signal and return its status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(LIMIT)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return status

    def run(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(command, *options),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def daemon(self) -> int:
        """Return the PID that the daemon left in its lock."""
        return int((self.state / "relay/lock").read_text())

    def daemons(self) -> list[int]:
        """Return the PIDs of all relay servers with our state directory."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"serve" in words and os.fsencode(self.state) in words:
                    found.append(int(path.parent.name))
        return found

    def close(self) -> None:
        if self.process is not None:
            self.end(signal.SIGKILL)
        for pid in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.daemons(), "the relay did not end")
        shutil.rmtree(self.state)

    def client(self) -> Client:
        return Client(self.server, timeout=LIMIT)

    def raw(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.socket))
        connection.settimeout(LIMIT)
        return connection

    def publish(self, topic: str, body: bytes, *headers: tuple[str, str]) -> dict[str, Any]:
        with self.client() as client:
            return accepted(client.request("POST", f"/{topic}", headers, body))

    def poll(self, topic: str, since: str = "all") -> list[dict[str, Any]]:
        with self.client() as client:
            answer = client.request("GET", f"/{topic}/json?poll=1&since={since}", limit=1 << 30)
        assert answer.status == 200, answer.body
        return [json.loads(line) for line in answer.body.splitlines()]


def accepted(answer: Response) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    result: dict[str, Any] = json.loads(answer.body)
    return result


def refused(answer: Response) -> tuple[int, int]:
    return answer.status, json.loads(answer.body)["code"]


@contextlib.contextmanager
def relay_of(interpreter: str = sys.executable) -> Iterator[Relay]:
    relay = Relay(interpreter)
    try:
        yield relay
    finally:
        relay.close()


def texts(events: list[dict[str, Any]]) -> list[str]:
    return [event["message"] for event in events]
