"""Many hosts at once: those that hang, refuse or lie cost the others nothing but a line each."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.client import Client
from tests.lab.laptop import Laptop
from tests.lab.ports import free_port
from tests.lab.sshd import Sshd
from tests.sweep.support import listed, start_server, sweep, wait_ended

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

HEALTHY = 16
LIMIT = 8.0


@pytest.fixture(scope="module")
def fleet() -> Iterator[tuple[Laptop, list[str], list[str]]]:
    """20 hosts on loopback; their servers are only listed, for their account is ours and that of other tests."""
    with contextlib.ExitStack() as stack:
        client = Client()
        stack.callback(client.close)
        hosts = [stack.enter_context(Sshd(client=client, alias=f"host{number}")) for number in range(HEALTHY + 1)]
        hosts[-1].change_host_key()
        for number in (1, 2):
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            client.host(f"hanging{number}", "HostName 127.0.0.1", f"Port {silent.getsockname()[1]}")
        client.host("refusing", "HostName 127.0.0.1", f"Port {free_port()}")
        healthy = [host.alias for host in hosts[:-1]]
        yield Laptop(client), healthy, ["hanging1", "hanging2", "refusing", hosts[-1].alias]


def test_the_slowest_healthy_host_or_the_limit_decides(fleet: tuple[Laptop, list[str], list[str]]) -> None:
    laptop, healthy, failing = fleet
    begun = time.monotonic()
    done = laptop.run("sweep", "--json", "--timeout", f"{LIMIT:g}s", *failing, *healthy)
    taken = time.monotonic() - begun
    assert done.returncode == 1
    answers = {host["host"]: host for host in json.loads(done.stdout)}
    assert list(answers) == [*failing, *healthy], "in the order of the command line"
    assert [name for name, host in answers.items() if host["error"]] == failing, done.stderr
    # The two hang for the whole limit, and nobody waits longer: twenty in a row would.
    assert LIMIT - 0.5 <= taken < LIMIT + 12
    lines = done.stderr.splitlines()
    assert len(lines) == len(failing), lines
    said = {line.removeprefix("nssh: ").partition(": ")[0]: line for line in lines}
    assert sorted(said) == sorted(failing)
    assert "refused" in said["refusing"]
    assert "changed" in said[failing[-1]]
    for host in failing[:2]:
        assert "timed out" in said[host].lower() or "no answer" in said[host]
    laptop.wait_gone()


def test_without_one_that_hangs_nobody_waits_for_the_limit(fleet: tuple[Laptop, list[str], list[str]]) -> None:
    laptop, healthy, failing = fleet
    begun = time.monotonic()
    done = laptop.run("sweep", "--dry-run", "--timeout", "50s", *healthy, *failing[2:])
    assert time.monotonic() - begun < 40
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    laptop.wait_gone()


def test_two_names_of_one_host_are_one_host(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    remote.client.host("same", *remote.client.options("devbox"))
    hosts = json.loads(sweep(laptop, "--json", "devbox", "same", f"{remote.user}@devbox"))
    assert [host["host"] for host in hosts] == ["devbox"]
    (one,) = listed(laptop, "--all", "--min-age", "0", "same", "devbox")
    assert (one["pid"], one["fate"]) == (server.pid, "ended")
    wait_ended(server)


def test_ssh_options_apply_to_all_hosts(remote: Sshd, laptop: Laptop) -> None:
    """Behind the hosts as before them; without the config that names it, a host is reached by its options alone."""
    server = start_server(remote, laptop)
    env, laptop.env = laptop.env, {**laptop.env, "NSSH_SSH": "ssh"}
    options = ["-F", os.fspath(remote.client.config), "-p", str(remote.port), "-l", remote.user]
    try:
        assert [one["pid"] for one in listed(laptop, "devbox", *options)] == [server.pid]
        assert [one["pid"] for one in listed(laptop, *options, "127.0.0.1")] == [server.pid]
        done = laptop.run("sweep", "--json", "-F", os.fspath(remote.client.config), "-p", "1", "127.0.0.1")
        assert done.returncode == 1
        assert done.stderr.startswith("nssh: 127.0.0.1: ")
    finally:
        laptop.env = env
    sweep(laptop, "--all", "--min-age", "0", "devbox")
    wait_ended(server)


def test_a_host_that_ssh_itself_refuses_stops_nobody(remote: Sshd, laptop: Laptop) -> None:
    done = laptop.run("sweep", "--json", "bad\x1bname", "devbox")
    assert done.returncode == 1
    assert [bool(host["error"]) for host in json.loads(done.stdout)] == [True, False]
    (line,) = done.stderr.splitlines()
    assert line.startswith("nssh: ")
    assert line.isprintable()


def test_where_only_a_password_helps_a_live_connection_is_used(laptop: Laptop, remote: Sshd) -> None:
    """Nobody is asked for it; but a connection that the user has open was let in."""
    server = start_server(remote, laptop)
    options = remote.client.options("devbox")
    try:
        with remote.client.master("devbox") as path:
            remote.client.host("devbox", *options, "PubkeyAuthentication no")
            done = laptop.run("sweep", "--json", "devbox")
            assert done.returncode == 1
            assert "Permission denied" in done.stderr
            remote.client.host("devbox", *options, "PubkeyAuthentication no", f"ControlPath {path}")
            (one,) = listed(laptop, "--all", "--min-age", "0", "devbox")
            assert (one["pid"], one["fate"]) == (server.pid, "ended")
            assert path.exists(), "it is the user's, and stays"
    finally:
        remote.client.host("devbox", *options)
    wait_ended(server)
