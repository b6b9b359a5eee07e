"""What the tests of sweeps share: mosh-servers of an account that is the test's own, and a laptop to sweep from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

ANY_PROMPT = re.compile(rb"[$#%>] ")
_STARTED = re.compile(r"MOSH CONNECT ([0-9]+) (\S+)")


class Started:
    """A mosh-server that the test started, on its own."""

    def __init__(self, process: psutil.Process, port: int, key: str) -> None:
        self.process = process
        self.pid = process.pid
        self.port = port
        self.key = key

    @property
    def runs(self) -> bool:
        try:
            return self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def start_server(remote: Sshd, laptop: Laptop, environment: str = "", command: str = "") -> Started:
    """Start a mosh-server through the remote's sshd, as a login does."""
    tail = f" -- {command}" if command else ""
    words = f"{environment} exec mosh-server new -s -c 256 -l LANG=C.UTF-8{tail}"
    done = subprocess.run(
        [*remote.client.ssh, remote.alias, words],
        env=laptop.env, capture_output=True, text=True, timeout=30, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    found = _STARTED.search(done.stdout)
    pid = re.search(r"detached, pid = ([0-9]+)", done.stderr + done.stdout)
    assert found, done
    assert pid, done
    return Started(psutil.Process(int(pid[1])), int(found[1]), found[2])


def sweep(laptop: Laptop, *arguments: str, code: int | None = 0, timeout: float = 60.0) -> str:
    """Run `nssh sweep` without a terminal; return what it printed."""
    done = laptop.run("sweep", *arguments, timeout=timeout)
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def listed(laptop: Laptop, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Run `nssh sweep --json` for one host; return its servers."""
    (host,) = json.loads(sweep(laptop, "--json", *arguments, code=code))
    servers: list[dict[str, Any]] = host["servers"]
    return servers


def wait_ended(*servers: Started) -> None:
    wait_until(lambda: not any(server.runs for server in servers), "the servers are gone")


class Window:
    """A mosh-client on a terminal, attached to a server that the test started."""

    def __init__(self, laptop: Laptop, server: Started, shows: bytes | re.Pattern[bytes] = ANY_PROMPT) -> None:
        environ = {**laptop.env, "MOSH_KEY": server.key}
        self.terminal = Terminal(["mosh-client", "-#", "test", "127.0.0.1", str(server.port)], environ)
        self.terminal.expect(shows)

    def close(self) -> None:
        """Lose the client, as a laptop that is thrown away does: its server is told nothing."""
        self.terminal.close()


def require_utmp() -> None:
    """Make sure that mosh-server can tell who is attached; skip the test where it can't."""
    path = Path("/run/utmp")
    if not path.exists() and os.geteuid() == 0 and shutil.which("who"):
        path.touch()
        path.chmod(0o664)  # whatever our umask: mosh-server's helper is of the group
        try:
            shutil.chown(path, "root", "utmp")
        except LookupError:
            path.unlink()
    if not path.exists():
        pytest.skip("this machine has no utmp")


def wait_detached(*servers: Started) -> None:
    """Wait until utmp says so, after half a minute without a word of the client; and until they end at once.

    A mosh-server that has heard of its client within 40 s tries for 10 s to tell it that it ends.
    """

    def detached() -> bool:
        told = subprocess.run(["who"], capture_output=True, text=True, check=True).stdout
        return all(f"(mosh [{server.pid}])" in told for server in servers)

    wait_until(detached, "the servers count as detached", 90.0)
    silent = time.monotonic() - 30
    wait_until(lambda: time.monotonic() > silent + 42, "they have given their clients up", 30.0)
