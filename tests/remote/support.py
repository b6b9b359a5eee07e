"""A private home to install into, interpreters to run on, and the laptop's end of the bus, small."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import pytest

from nssh.base.errors import RemoteError
from nssh.install import deploy
from nssh.remote import stop, stub
from nssh.ssh.connection import Completed
from nssh.wire import envelope as wire
from nssh.wire import session_file
from nssh.wire.http import Client, HttpError, Timeout
from nssh.wire.quickjson import loads
from tests.lab.waiting import until

if TYPE_CHECKING:
    from nssh.ssh.connection import Channel

TOPIC = "nssh_abcdefghijklmnopqrst"
DEADLINE = 30.0


class Interpreter(NamedTuple):
    version: str
    path: str


@functools.cache
def interpreters() -> tuple[Interpreter, ...]:
    """Every Python from 3.8 on that can be found here, the oldest first, one a version."""
    found: dict[str, str] = {}
    candidates = [sys.executable, *map(str, Path.home().glob(".pyenv/versions/*/bin/python3"))]
    candidates += [path for minor in range(8, 15) if (path := shutil.which(f"python3.{minor}"))]
    for path in candidates:
        ask = [path, "-ISc", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=False)
        except OSError:
            continue
        version = done.stdout.strip()
        if done.returncode == 0 and _key(version) >= (3, 8):
            found.setdefault(version, path)
    return tuple(Interpreter(version, found[version]) for version in sorted(found, key=_key))


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class LocalShellConnection:
    """A fake of `nssh.ssh.connection.Connection`: `sh -c` on this machine with a private home, no ssh at all."""

    name = "fake"

    def __init__(self, env: dict[str, str], home: Path) -> None:
        self._env = env
        self._home = home
        self.runs = 0

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        self.runs += 1
        done = subprocess.run(
            ["/bin/sh", "-c", command], input=stdin, capture_output=True, timeout=timeout, check=False,
            env=self._env, cwd=self._home,
        )  # fmt: skip
        return Completed(done.returncode, done.stdout[:limit], done.stderr[:limit])

    def open_stream(self, command: str, *, timeout: float = 15.0) -> Channel:
        raise NotImplementedError

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> Channel:
        raise NotImplementedError

    def put(self, data: bytes, path: str, *, timeout: float = 60.0) -> None:
        raise NotImplementedError

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


class Ran(NamedTuple):
    status: int
    out: bytes
    err: str


class Home:
    """A home directory of its own under /tmp (short: sockets go into it), with a PATH of its own."""

    def __init__(self, python: str | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
        self.python = python or interpreters()[-1].path
        tools = self.path / "tools"
        tools.mkdir()
        (tools / "python3").symlink_to(self.python)
        # What the scripts need, and neither the real xclip nor this machine's python3.
        for tool in ("sh", "dd", "mkdir", "cat", "env", "printf", "bash"):
            if path := shutil.which(tool):
                (tools / tool).symlink_to(path)
        self.bin = self.path / ".local/bin"
        self.data = self.path / ".local/share/nssh"
        self.state = self.path / ".local/state/nssh"
        self.real = self.path / "real"
        self.real.mkdir()
        self.env = {"HOME": str(self.path), "PATH": f"{self.bin}:{tools}:{self.real}", "LC_ALL": "C.UTF-8"}
        self.connection = LocalShellConnection(self.env, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        stop.relay(str(self.state))
        shutil.rmtree(self.path, ignore_errors=True)

    def infect(self, *, force: bool = False) -> deploy.InstallReport:
        return deploy.infect(self.connection, force=force)

    def refusal(self, *, force: bool = False) -> str:
        """Infect, and return the text of the error that it must end with."""
        with pytest.raises(RemoteError) as caught:
            self.infect(force=force)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def connect(self, server: str = "relay", features: tuple[str, ...] = (), token: str = "") -> str:
        """Write the session file as a laptop would; return the server as a client gets it."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = session_file.render(session_file.Session(server, TOPIC, features, token))
        path = self.state / "session"
        path.write_text(text)
        path.chmod(0o600)
        return f"unix:{self.state}/relay.sock" if server == "relay" else server

    def run(self, *argv: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
        """Run a shim by its name, as a program on the remote would."""
        done = subprocess.run(
            [self._find(argv[0]), *argv[1:]], input=stdin, capture_output=True, timeout=DEADLINE * 2,
            env={**self.env, **(env or {})}, cwd=self.path, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._find(argv[0]), *argv[1:]], env=self.env, cwd=self.path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def _find(self, name: str) -> str:
        return str(self.data / name if name == stub.COMMAND else self.bin / name)

    def real_tool(self, name: str, script: str) -> Path:
        """Put a program into a directory further down the PATH."""
        path = self.real / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def log(self) -> list[dict[str, object]]:
        path = self.state / "log.jsonl"
        return [loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def server(home: Home) -> str:
    """Return the address of the relay of a home."""
    return f"unix:{home.state}/relay.sock"


class Laptop:
    """The laptop's end, small: subscribes, remembers what comes, answers reads from `clipboard` (by MIME type)."""

    def __init__(self, server: str, clipboard: dict[str, bytes] | None = None) -> None:
        self.clipboard = clipboard or {}
        self.silent = False
        self.answers_as = ""
        self.received: list[tuple[wire.Envelope, bytes]] = []
        self.requests: list[wire.Envelope] = []
        self.problems: list[BaseException] = []
        self._server = server
        self._listening = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(DEADLINE), f"the laptop can't subscribe: {self.problems}"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        assert not self.problems, self.problems

    def wait(self, count: int = 1) -> list[tuple[wire.Envelope, bytes]]:
        until(lambda: len(self.received) >= count)
        return self.received[:]

    def _serve(self) -> None:
        try:
            stream = Client(self._server).stream(f"/{TOPIC}/json")
            while not self._stop.is_set():
                try:
                    line = stream.line(time.monotonic() + 0.05)
                except Timeout:
                    continue
                assert line is not None, "the server ended the stream"
                self._take(loads(line.decode()))
            stream.close()
        except (HttpError, AssertionError, wire.EnvelopeError) as error:
            self.problems.append(error)

    def _take(self, event: dict[str, object]) -> None:
        if event["event"] == "open":
            self._listening.set()
        if event["event"] != "message":
            return
        try:
            message = wire.decode(str(event["message"]))
        except wire.EnvelopeError:
            return  # our own answer just above the server's message limit, which it made a file of
        if message.kind == wire.KIND_CLIP_READ_REQUEST:
            self.requests.append(message)
            if not self.silent:
                self._answer(message)
        elif message.kind == wire.KIND_PING:
            if not self.silent:
                pong = wire.encode(wire.Envelope(wire.KIND_PONG, id=message.id)).encode()
                assert Client(self._server).request("POST", f"/{TOPIC}", (), pong).status == 200
        elif message.kind not in {wire.KIND_CLIP_READ_RESPONSE, wire.KIND_PONG}:
            self.received.append((message, self._payload(message, event)))

    def _payload(self, message: wire.Envelope, event: dict[str, object]) -> bytes:
        attachment = event.get("attachment")
        if not isinstance(attachment, dict):
            return message.body
        name = attachment["url"].rpartition("/file/")[2]
        bodies: list[bytes] = []

        def fetch() -> bool:  # ntfy may tell of a file a moment before it has it
            with contextlib.suppress(HttpError):
                answer = Client(self._server).request("GET", f"/file/{name}", limit=64 << 20)
                if answer.status == 200:
                    bodies.append(answer.body)
            return bool(bodies)

        until(fetch)
        return bodies[0]

    def _answer(self, request: wire.Envelope) -> None:
        data = self.clipboard.get(request.mime)
        if data is None:
            data = b"ERROR: the clipboard has no " + request.mime.encode()
        mime = self.answers_as or request.mime
        answer = wire.Envelope(wire.KIND_CLIP_READ_RESPONSE, mime=mime, id=request.id)
        headers: list[tuple[str, str]] = []
        if wire.wants_attachment(mime, len(data)):
            headers = [("Filename", wire.attachment_name(mime)), ("X-Message", wire.encode(answer))]
            body = data
        else:
            answer.body = data
            body = wire.encode(answer).encode()
        done = Client(self._server).request("PUT" if headers else "POST", f"/{TOPIC}", headers, body)
        assert done.status == 200, done.body
