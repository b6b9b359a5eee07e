"""The user's side of a session under test: private files, a browser that writes down what it is to open, and nssh."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from nssh.state import session_records
from tests.lab.tools import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nssh.state.session_records import Record
    from tests.lab.client import Client

NSSH = (sys.executable, "-P", "-m", "nssh")
"""The program of this checkout, as an installed one would run."""

ROOT = Path(__file__).resolve().parents[2]


class Laptop:
    """A home of its own for nssh.

    Attributes:
        env: The environment in which nssh runs; no display, so that the clipboard is the one in memory.
        state: nssh's state directory.
    """

    def __init__(self, client: Client, config: str = "", **env: str) -> None:
        self.client = client
        self.opened_file = client.home / "opened"
        browser = client.home / "browser"
        browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {shlex.quote(os.fspath(self.opened_file))}\n')
        browser.chmod(0o755)
        directory = client.home / ".config/nssh"
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "config.toml"
        self.config.write_text(f"{config}\n[browser]\ncommand = {json.dumps(os.fspath(browser))}\n")
        self.config.chmod(0o600)
        base = {k: v for k, v in client.env().items() if k not in {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}}
        self.env = {**base, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": os.fspath(ROOT), **env}
        self.state = client.home / ".local/state/nssh"

    def run(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run nssh to its end, without a terminal."""
        return subprocess.run(
            [*NSSH, *arguments], env=self.env, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def infect(self, *arguments: str) -> None:
        """Install the remote side."""
        done = self.run("infect", *arguments, "devbox")
        assert done.returncode == 0, done.stderr

    def opened(self) -> list[str]:
        """Return the URLs that were opened so far."""
        try:
            return self.opened_file.read_text().split()
        except FileNotFoundError:
            return []

    def wait_opened(self, url: str, times: int = 1, deadline: float = DEADLINE) -> None:
        """Wait until a URL was opened."""
        wait_until(lambda: self.opened().count(url) >= times, f"{url} is opened", deadline)

    def sessions(self) -> list[Record]:
        """Return the records there are, live or not."""
        directory = self.state / "sessions"
        found = []
        for path in sorted(directory.glob("*.json")):
            # Not by `records.read`: they may be those of an account that the tests play.
            with contextlib.suppress(FileNotFoundError):
                found.append(session_records.parse(path.read_bytes()))
        return [record for record in found if record is not None]

    def wait_up(self, count: int = 1, deadline: float = DEADLINE) -> list[Record]:
        """Wait until sessions have their bus up and their remote made ready, and return their records."""
        wait_until(
            lambda: len([one for one in self.sessions() if one.bus == "up" and one.version]) >= count,
            f"{count} buses up",
            deadline,
        )
        return self.sessions()

    def events(self) -> list[dict[str, Any]]:
        """Return all events of all sessions' logs, in the order of their time."""
        found = []
        for path in (self.state / "logs").glob("*.jsonl*"):
            if path.suffix != ".err":
                found += [json.loads(line) for line in path.read_text().splitlines()]
        return sorted(found, key=lambda event: event["ts"])

    def tracebacks(self) -> str:
        """Return what bridges wrote to their standard error."""
        return "".join(path.read_text() for path in (self.state / "logs").glob("*.err"))

    def processes(self) -> list[psutil.Process]:
        """Return everything that still runs with this laptop's environment."""
        home = self.env["HOME"]
        found = []
        for process in psutil.process_iter():
            try:
                # The master of a shared connection writes its title over its environment: `ssh: <socket> [mux]`.
                ours = process.environ().get("HOME") == home or f"ssh: {home}/" in " ".join(process.cmdline())
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.pid != os.getpid()]

    def wait_gone(self, deadline: float = 6.0) -> None:
        """Wait until nothing of it runs any more: docs/architecture.md promises 5 seconds after the launcher's end."""
        try:
            wait_until(lambda: not self.processes(), "all gone", deadline)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {[_described(process) for process in self.processes()]}") from None


def _described(process: psutil.Process) -> str:
    """What may tell why a process still runs: for how long, and what it waits for."""
    try:
        wait = Path(f"/proc/{process.pid}/wchan").read_text(encoding="ascii")
        age = time.time() - process.create_time()
        words = " ".join(process.cmdline()).strip()  # a title has the room of the words that it replaces
        return f"{process.pid} of {process.ppid()}, {process.status()} in {wait}, {age:.1f} s: {words}"
    except (psutil.Error, OSError):
        return f"{process.pid}, gone"


class RemoteShell:
    """A session without a terminal: `nssh devbox sh`, whose shell takes one command after another on stdin."""

    def __init__(
        self,
        laptop: Laptop,
        *arguments: str,
        path: str | None = None,
        host: str = "devbox",
        program: Sequence[str] = NSSH,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.laptop = laptop
        command = [*program, *arguments, host, "exec sh"]
        self.process = subprocess.Popen(
            command, env=env or laptop.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._count = 0
        self.run(f"PATH={path or '$HOME/.local/bin:$PATH'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The launcher's."""
        return self.process.pid

    def run(self, command: str) -> tuple[int, bytes]:
        """Run a command line on the remote; return its exit status and its output, both streams."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._count += 1
        mark = f"--{self._count}-{os.urandom(4).hex()}--"
        self.process.stdin.write(f"{{ {command}\n}} 2>&1; printf '\\n%s %s\\n' {mark} $?\n".encode())
        self.process.stdin.flush()
        output = b""
        while True:
            line = self.process.stdout.readline()
            assert line, f"the session ended in {command!r}: {output!r}"
            if line.startswith(mark.encode()):
                return int(line.split()[1]), output.removesuffix(b"\n")
            output += line

    def close(self) -> int:
        """End the session; return its exit status."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(DEADLINE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return self.process.returncode
