"""The processes of a sweep: who ends with whom, who is started anew, what stays behind (nothing)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.mosh.end_servers import EndMethod
from nssh.mosh.mosh_servers import MoshServer
from nssh.ssh.identity import Target
from nssh.sweep.child import SweepChild
from nssh.sweep.child_messages import End, Failed, Job, Listed
from tests.lab.laptop import NSSH, Laptop
from tests.lab.tools import wait_until
from tests.sweep.support import listed, start_server, sweep, wait_ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


@pytest.fixture
def silent(remote: Sshd) -> Iterator[socket.socket]:
    """A host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        remote.client.host("silent", "HostName 127.0.0.1", f"Port {server.getsockname()[1]}")
        yield server


def start(laptop: Laptop, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*NSSH, "sweep", *arguments], env=laptop.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whatever_ends_the_foreground_nothing_is_left(laptop: Laptop, silent: socket.socket, number: int) -> None:
    with start(laptop, "--dry-run", "--timeout", "90s", "silent") as running:
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            running.send_signal(number)
            _, errors = running.communicate(timeout=20)
            assert running.returncode == (130 if number == signal.SIGINT else -number)
            assert b"Traceback" not in errors
            laptop.wait_gone(deadline=8.0)


def test_an_ssh_that_is_on_its_way_is_ended_too(laptop: Laptop, silent: socket.socket, remote: Sshd) -> None:
    """A host that only OpenSSH reaches hangs there; its proxy is a process of its own."""
    remote.client.host("proxied", "HostName 127.0.0.1", "ProxyCommand sleep 90")
    with start(laptop, "--dry-run", "--timeout", "90s", "proxied") as running:
        wait_until(lambda: any(one.name() == "sleep" for one in laptop.processes()), "the proxy runs")
        running.kill()
        running.communicate()
    laptop.wait_gone(deadline=8.0)


def test_a_child_that_dies_is_one_line(laptop: Laptop, silent: socket.socket) -> None:
    with start(laptop, "--dry-run", "--timeout", "90s", "silent") as running:
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            (child,) = psutil.Process(running.pid).children()
            child.kill()
            _, errors = running.communicate(timeout=20)
    assert running.returncode == 1
    (line,) = errors.decode().splitlines()
    assert line.startswith("nssh: silent: the sweep's own process ended; see ")


def test_a_read_only_state_directory_stops_no_sweep(remote: Sshd, laptop: Laptop) -> None:
    """As root nothing is read-only: a file in the directory's place."""
    server = start_server(remote, laptop)
    env, laptop.env = laptop.env, {**laptop.env, "XDG_STATE_HOME": os.fspath(laptop.config)}
    try:
        (one,) = listed(laptop, "--all", "--min-age", "0", "devbox")
    finally:
        laptop.env = env
    assert (one["pid"], one["fate"]) == (server.pid, "ended")
    wait_ended(server)


def test_a_reader_that_goes_away_is_no_traceback(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    with start(laptop, "--dry-run", "devbox") as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        assert b"Traceback" not in running.stderr.read()
        running.wait(20)
    laptop.wait_gone()
    sweep(laptop, "--all", "--min-age", "0", "devbox")
    wait_ended(server)


def test_what_was_done_is_in_the_log_and_no_more(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    before = set((laptop.state / "logs").glob("sweep-*.jsonl"))
    sweep(laptop, "--all", "--min-age", "0", "devbox")
    wait_ended(server)
    (log,) = set((laptop.state / "logs").glob("sweep-*.jsonl")) - before
    assert log.stat().st_mode & 0o777 == 0o600
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(event["event"], event.get("server"), event.get("fate")) for event in events] == [
        ("sweep-listed", None, None) if event["event"] == "sweep-listed" else ("sweep-fate", server.pid, "ended")
        for event in events
    ]
    assert len(events) == 2


def test_a_defect_costs_one_host_and_says_so(laptop: Laptop, remote: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweeper of a target that makes no sense crashes, is started anew, crashes again, and is given up."""
    for name, value in laptop.env.items():
        monkeypatch.setenv(name, value)
    senseless = Target("odd", ("ssh",), (), {"hostname": ["127.0.0.1"], "port": ["many"]})
    with SweepChild() as child:
        from nssh.ssh.identity import resolve

        child.tell(Job((senseless, resolve(laptop.client.ssh, "devbox")), 20.0, child.log, 86400.0))
        heard: dict[int, object] = {}
        deadline = time.monotonic() + 60
        while len(heard) < 2 and time.monotonic() < deadline:
            news = child.news(5.0)
            assert news is not None
            heard |= {one.host: one for one in news}
        failed, listing = heard[0], heard[1]
        assert isinstance(listing, Listed)
        assert isinstance(failed, Failed)
        assert failed.reason == "odd: sweeping it failed; the log says why"
        # Orders that make no sense any more are no crash either.
        child.tell(End(0, ((MoshServer(1, "1", 1.0), EndMethod.TERM),)))
    with open(child.log) as log:
        events = [json.loads(line) for line in log]
    assert [event["event"] for event in events if "restart" in event["event"]] == ["actor-restart"] * 2
    assert any("many" in str(event.get("err")) for event in events)
