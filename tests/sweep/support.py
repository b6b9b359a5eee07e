"""What the tests of sweeps share: mosh-servers of an account that is the test's own, and a laptop to sweep from."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import psutil

from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

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
