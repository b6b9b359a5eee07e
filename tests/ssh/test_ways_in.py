"""Getting in: keys, agents, certificates, passwords, jump hosts, proxies, and the host keys that must keep us out."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import socket
import stat
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import ConnectError
from nssh.ssh import master
from nssh.ssh.batch_connection import BatchConnection
from nssh.ssh.connect import connect
from nssh.ssh.control_connection import ControlConnection, wait_for_socket
from nssh.ssh.paramiko_connection import ParamikoConnection
from tests.lab.proxy import DelayProxy
from tests.lab.sshd import DEADLINE, Sshd, make_key, wait_until
from tests.ssh.conftest import connected, nothing_left, target_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target

pytestmark = pytest.mark.real

OWN_LOGIN: list[Callable[[Target], Connection]] = [ParamikoConnection, BatchConnection]
own_login = pytest.mark.parametrize("make", OWN_LOGIN, ids=["paramiko", "batch"])


RELAY = """\
import os, socket, sys, threading
remote = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def down():
    while data := remote.recv(65536):
        os.write(1, data)
threading.Thread(target=down, daemon=True).start()
while data := os.read(0, 65536):
    remote.sendall(data)
"""


def says_hello(make: Callable[[Target], Connection], target: Target) -> None:
    connection = make(target)
    try:
        assert connection.run("echo hello").stdout == b"hello\n"
    finally:
        connection.close()


def refusal(make: Callable[[Target], Connection], target: Target) -> ConnectError:
    with nothing_left(), pytest.raises(ConnectError) as caught:
        says_hello(make, target)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{target.destination}: ")
    return caught.value


def entry(remote: Sshd, alias: str, *options: str) -> Target:
    """Make another entry for the same sshd, whose options win."""
    remote.client.host(alias, *options, *remote.client.options(remote.alias))
    return target_of(remote, alias)


@own_login
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_key_of_any_kind_gets_in(make: Callable[[Target], Connection], kind: str, remote: Sshd) -> None:
    key = make_key(remote.client.directory / f"id_{kind}_2", kind)
    remote.authorize(key.with_name(key.name + ".pub"))
    says_hello(make, entry(remote, f"with-{kind}", "IdentitiesOnly yes", f"IdentityFile {key}"))


@own_login
def test_an_encrypted_key_without_agent_is_an_error_and_no_prompt(
    make: Callable[[Target], Connection], remote: Sshd
) -> None:
    key = make_key(remote.client.directory / "id_locked", passphrase="secret")
    config = remote.client.directory / "only_locked"
    config.write_text(remote.client.config.read_text().replace(os.fspath(remote.client.key), os.fspath(key)))
    error = refusal(make, target_of(remote, None, "-F", os.fspath(config)))
    assert error.kind == "auth"
    assert "Permission denied" in str(error)


@own_login
def test_the_agent_s_key_gets_in(
    make: Callable[[Target], Connection], remote: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(remote.client.directory / "id_agent")
    remote.authorize(key.with_name(key.name + ".pub"))
    config = remote.client.directory / "only_agent"
    no_key = remote.client.config.read_text().replace(os.fspath(remote.client.key), "/nonexistent")
    config.write_text(no_key.replace("IdentitiesOnly yes", "IdentitiesOnly no"))
    with remote.client.agent(key) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", agent)
        says_hello(make, target_of(remote, None, "-F", os.fspath(config)))
        monkeypatch.delenv("SSH_AUTH_SOCK")
        says_hello(make, target_of(remote, None, "-F", os.fspath(config), "-o", f"IdentityAgent={agent}"))
        # Only the configured identities count: the public half names the agent's key.
        key.unlink()
        config.write_text(no_key.replace("/nonexistent", os.fspath(key)))
        says_hello(make, target_of(remote, None, "-F", os.fspath(config), "-o", f"IdentityAgent={agent}"))
        config.write_text(no_key)
        target = target_of(remote, None, "-F", os.fspath(config), "-o", f"IdentityAgent={agent}")
        assert refusal(make, target).kind == "auth"
    assert refusal(make, target_of(remote, None, "-F", os.fspath(config))).kind == "auth"


@own_login
def test_a_certificate_gets_in(make: Callable[[Target], Connection], tmp_path: Path) -> None:
    authority = make_key(tmp_path / "ca")
    with Sshd(options=[f"TrustedUserCAKeys {tmp_path}/ca.pub"]) as remote:
        key = make_key(remote.client.directory / "id_cert")
        command = ["ssh-keygen", "-q", "-s", os.fspath(authority), "-I", "lab", "-n", remote.user, f"{key}.pub"]
        subprocess.run(command, check=True)
        config = remote.client.directory / "with_cert"
        config.write_text(remote.client.config.read_text().replace(os.fspath(remote.client.key), os.fspath(key)))
        says_hello(make, target_of(remote, None, "-F", os.fspath(config)))


def test_a_password_is_typed_once_and_never_again() -> None:
    with Sshd(password=True, options=["PubkeyAuthentication no"]) as remote:
        control = remote.client.directory / "c"
        command = [*remote.client.ssh, "-M", "-S", os.fspath(control), remote.alias, "echo in; exec cat"]
        child, terminal = pty.fork()
        if child == 0:
            os.execvpe(command[0], command, remote.client.env())  # noqa: S606, ssh itself, on the pty
        seen = b""
        try:
            seen = read_until(terminal, b"assword:")
            assert remote.password
            os.write(terminal, remote.password.encode() + b"\n")
            assert wait_for_socket(os.fspath(control), time.monotonic() + DEADLINE, threading.Event())
            target = target_of(remote)
            with nothing_left():
                connection = connect(target, control_path=os.fspath(control), deadline=time.monotonic() + DEADLINE)
                assert connection.name == "control"
                assert connection.run("id -un").stdout.decode().strip() == remote.user
                assert connection.run("wc -c", stdin=b"x" * 100_000).stdout.strip() == b"100000"
                stream = connection.open_stream("exec cat")
                stream.sendall(b"abc")
                assert stream.recv(3) == b"abc"
                connection.close()
            assert isinstance(connection, ControlConnection)
            # Nothing was asked for or said on the terminal meanwhile.
            os.write(terminal, b"echoed\n")
            seen = read_until(terminal, b"echoed\r\nechoed\r\n")
            assert seen.count(b"assword") == 0
            with pytest.raises(ConnectError) as caught:
                connect(target, control_path=None, deadline=time.monotonic() + DEADLINE)
            assert caught.value.kind == "auth"
            master.end(os.fspath(control))
            wait_until(lambda: not control.exists(), "the master is gone")
        finally:
            os.close(terminal)
            os.waitpid(child, 0)


def read_until(terminal: int, words: bytes) -> bytes:
    seen = b""
    end = time.monotonic() + DEADLINE
    while words not in seen:
        assert select.select([terminal], [], [], max(end - time.monotonic(), 0))[0], seen
        seen += os.read(terminal, 4096)
    return seen


def test_a_vanished_socket_is_no_new_login(remote: Sshd) -> None:
    """The host would let us in by key: a fallback would succeed, which is what must not happen."""
    target = target_of(remote)
    with remote.client.master() as path:
        connection = ControlConnection(target, os.fspath(path))
        assert connection.run("echo x").stdout == b"x\n"
    assert not connection.alive()
    for attempt in (lambda: connection.run("echo x"), lambda: connection.open_stream("cat")):
        with pytest.raises(ConnectError) as caught:
            attempt()
        assert caught.value.kind == "closed"


def test_waiting_for_a_master_ends_with_the_deadline_or_on_demand(remote: Sshd) -> None:
    nowhere = os.fspath(remote.client.directory / "nowhere")
    assert not wait_for_socket(nowhere, time.monotonic() + 0.05, threading.Event())
    stop = threading.Event()
    results: list[bool] = []
    waiting = threading.Thread(
        target=lambda: results.append(wait_for_socket(nowhere, time.monotonic() + 2 * DEADLINE, stop))
    )
    waiting.start()
    stop.set()
    waiting.join(DEADLINE)
    assert results == [False]


@own_login
def test_a_jump_host_leads_to_the_target(make: Callable[[Target], Connection]) -> None:
    with Sshd(alias="bastion") as bastion, Sshd(client=bastion.client, alias="inner") as inner:
        client = bastion.client
        client.host("inner", *client.options("inner"), "ProxyJump bastion")
        says_hello(make, target_of(inner))
        # By address and port, through two hops.
        plain = [line for line in client.options("inner") if not line.startswith("ProxyJump")]
        client.host("middle", *client.options("bastion"))
        client.host("inner", *plain, f"ProxyJump middle,{bastion.user}@127.0.0.1:{bastion.port}")
        target = target_of(inner)
        says_hello(make, target)
        inner.stop()
        assert refusal(make, target).kind in {"refused", "closed"}
        bastion.stop()
        assert refusal(make, target).kind == "refused"


@own_login
def test_a_jump_host_s_changed_key_is_refused_too(make: Callable[[Target], Connection]) -> None:
    with Sshd(alias="bastion") as bastion, Sshd(client=bastion.client, alias="inner") as inner:
        bastion.client.host("inner", *bastion.client.options("inner"), "ProxyJump bastion")
        bastion.change_host_key()
        error = refusal(make, target_of(inner))
        assert error.kind == "hostkey"


@own_login
def test_a_proxy_command_carries_the_connection(make: Callable[[Target], Connection], remote: Sshd) -> None:
    program = remote.client.directory / "proxy.py"
    program.write_text(RELAY)
    says_hello(make, entry(remote, "proxied", f"ProxyCommand python3 {program} %h %p"))
    error = refusal(make, entry(remote, "badly-proxied", "ProxyCommand false"))
    assert error.kind in {"closed", "unreachable"}


@own_login
def test_a_changed_host_key_is_refused_with_ssh_s_reason(make: Callable[[Target], Connection]) -> None:
    with Sshd() as remote:
        says_hello(make, target_of(remote))
        remote.change_host_key()
        error = refusal(make, target_of(remote))
        assert error.kind == "hostkey"
        assert f"Host key for {remote.known_as} has changed" in str(error)
        assert f"{remote.client.known_hosts}:1" in str(error)


@own_login
def test_an_unknown_host_key_is_refused(make: Callable[[Target], Connection]) -> None:
    with Sshd() as remote:
        remote.client.known_hosts.write_text("")
        error = refusal(make, target_of(remote))
        assert error.kind == "hostkey"
        assert "No ED25519 host key is known for" in str(error)


@own_login
def test_the_kind_of_host_key_on_record_is_asked_for(make: Callable[[Target], Connection]) -> None:
    with Sshd(host_keys=["ed25519", "ecdsa", "rsa"]) as remote:
        for kind in ("rsa", "ecdsa"):
            remote.client.known_hosts.write_text("")
            remote.client.know(remote.known_as, remote.directory / f"host_{kind}.pub")
            says_hello(make, target_of(remote))


@own_login
def test_hashed_names_aliases_and_names_without_port_are_found(
    make: Callable[[Target], Connection],
) -> None:
    with Sshd() as remote:
        public = remote.public(remote.host_key)
        known_hosts = remote.client.known_hosts
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", known_hosts], check=True, capture_output=True)
        assert known_hosts.read_text().startswith("|1|")
        says_hello(make, target_of(remote))
        known_hosts.write_text("")
        remote.client.know("127.0.0.1", public)
        says_hello(make, target_of(remote))
        known_hosts.write_text("")
        remote.client.know("the-real-one", public)
        says_hello(make, entry(remote, "aliased", "HostKeyAlias the-real-one"))


@own_login
def test_nobody_listening_and_nobody_of_that_name(make: Callable[[Target], Connection]) -> None:
    with Sshd() as remote:
        remote.stop()
        error = refusal(make, target_of(remote))
        assert (error.kind, "Connection refused" in str(error)) == ("refused", True)
        error = refusal(make, entry(remote, "nowhere", "HostName no-such-host.invalid"))
        assert (error.kind, "Could not resolve hostname no-such-host.invalid" in str(error)) == ("resolve", True)


@own_login
def test_a_server_that_says_nothing_is_given_up(make: Callable[[Target], Connection], remote: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote.client.host("silent", "HostName 127.0.0.1", f"Port {silent.getsockname()[1]}")
        target = target_of(remote, "silent")
        with nothing_left(), pytest.raises(ConnectError) as caught:  # noqa: PT012, either way of making one connects
            if make is ParamikoConnection:
                ParamikoConnection(target, 1.0)
            else:
                connection = BatchConnection(target)
                try:
                    connection.run("echo x", timeout=1.0)
                finally:
                    connection.close()
        assert caught.value.kind == "timeout"


def test_connect_prefers_the_live_connection_then_paramiko(remote: Sshd, tmp_path: Path) -> None:
    target = target_of(remote)
    remember = tmp_path / "state" / "ways.json"
    with remote.client.master() as path:
        for control, way in ((path, "control"), (tmp_path / "none", "paramiko"), (None, "paramiko")):
            name = os.fspath(control) if control else None
            with nothing_left():
                connection = connect(target, control_path=name, deadline=time.monotonic() + DEADLINE, remember=remember)
                assert connection.name == way
                assert connection.run("echo x").stdout == b"x\n"
                connection.close()
    assert not remember.exists()


def test_connect_leaves_to_openssh_what_only_it_can_do_and_remembers(remote: Sshd, tmp_path: Path) -> None:
    remember = tmp_path / "state" / "ways.json"
    known = remote.client.known_hosts.read_text()
    target = entry(remote, "by-command", f"KnownHostsCommand /bin/echo {known.strip()}")
    for _ in range(2):
        connection = connect(target, control_path=None, deadline=time.monotonic() + DEADLINE, remember=remember)
        assert connection.name == "batch"
        assert connection.run("echo x").stdout == b"x\n"
        connection.close()
        assert list(json.loads(remember.read_text())) == [target.key]
        assert stat.S_IMODE(remember.stat().st_mode) == 0o600
    remote.stop()
    try:
        with pytest.raises(ConnectError):
            connect(target, control_path=None, deadline=time.monotonic() + DEADLINE, remember=remember)
        assert json.loads(remember.read_text()) == {}
    finally:
        remote.start()
    remember.write_text("[nonsense")
    connect(target, control_path=None, deadline=time.monotonic() + DEADLINE, remember=remember).close()
    assert list(json.loads(remember.read_text())) == [target.key]


def test_connect_takes_an_unknown_key_where_the_user_told_ssh_to() -> None:
    with Sshd() as remote:
        remote.client.known_hosts.write_text("")
        target = entry(remote, "lax", "StrictHostKeyChecking accept-new")
        with nothing_left():
            connection = connect(target, control_path=None, deadline=time.monotonic() + DEADLINE)
            assert connection.name == "batch"
            connection.close()
        assert remote.known_as in remote.client.known_hosts.read_text()


def test_connect_never_goes_on_after_a_changed_host_key(tmp_path: Path) -> None:
    with Sshd() as remote:
        remote.change_host_key()
        logins = remote.log.read_text()
        with nothing_left(), pytest.raises(ConnectError) as caught:
            connect(target_of(remote), control_path=None, deadline=time.monotonic() + DEADLINE)
        assert caught.value.kind == "hostkey"
        assert remote.log.read_text()[len(logins) :].count("Connection from") == 1


def test_batch_has_no_use_for_what_the_user_s_session_wants(remote: Sshd) -> None:
    target = target_of(
        remote, None, "-t", "-v", "-N", "-L", "9999:localhost:9", "-C4", "-o", "RemoteCommand=echo wrong", "-A"
    )
    says_hello(BatchConnection, target)


def test_an_account_with_a_locked_out_shell_is_an_answer_and_no_hang() -> None:
    remote = Sshd(shell="/usr/sbin/nologin")  # noqa: S604, it is an account's login shell
    with remote, connected("paramiko", remote) as connection:
        done = connection.run("echo x")
        assert done.status == 1
        assert b"not available" in done.stdout


@pytest.mark.parametrize("moment", ["handshake", "session"])
def test_a_connection_that_is_reset_is_an_error_and_no_traceback_in_the_log(
    remote: Sshd, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    with DelayProxy("127.0.0.1", remote.port) as link:
        remote.client.host("cut", "HostName 127.0.0.1", f"Port {link.port}", f"User {remote.user}")
        remote.client.know(f"[127.0.0.1]:{link.port}", Sshd.public(remote.host_key))
        target = target_of(remote, "cut")

        def cut() -> None:
            wait_until(lambda: link.connections > 0, "it knocks")
            link.cut()

        if moment == "handshake":
            link.freeze()
            cutter = threading.Thread(target=cut)
            cutter.start()
            with pytest.raises(ConnectError):
                ParamikoConnection(target)
            cutter.join()
        else:
            connection = ParamikoConnection(target)
            link.cut()
            wait_until(lambda: not connection.alive(), "it is gone")
            connection.close()
    assert caplog.text == ""


@pytest.mark.parametrize("pause", [0, 1.5])
def test_batch_has_no_file_once_ssh_runs_however_long_a_program_around_it_takes(
    remote: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    temporary, slow = tmp_path / "tmp", tmp_path / "slow"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(temporary))
    slow.write_text(f'#!/bin/sh\nsleep {pause}\nexec "$@"\n')
    slow.chmod(0o755)
    connection = BatchConnection(target_of(remote)._replace(ssh=(os.fspath(slow), *remote.client.ssh)))
    with contextlib.closing(connection.open_stream("cat")):
        left = list(temporary.iterdir())
        assert connection.run("echo hello").stdout == b"hello\n"
    connection.close()
    assert bool(left) is bool(pause), "a bridge that is killed from here on leaves nothing"
    assert list(temporary.iterdir()) == []
