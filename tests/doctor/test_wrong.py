"""One thing wrong at a time: it is named, with what to do, and what does not depend on it is still tried."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.base import process
from nssh.wire import files
from tests.doctor.support import PATH_LINE, doctor, one_wrong, tree
from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.sshd import Sshd
from tests.lab.tools import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.ntfy import NtfyServer

pytestmark = pytest.mark.real


@contextmanager
def edited(path: Path, text: str) -> Iterator[None]:
    """Give a file another content for a while."""
    before = path.read_bytes()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_bytes(before)


# The laptop.


def test_a_configuration_that_makes_no_sense(laptop: Laptop) -> None:
    with edited(laptop.config, "servr = 'relay'\n"):
        report = one_wrong(laptop, "config")
    assert 'did you mean "server"?' in report.text("config")
    assert report.named("ok") == ["state", "records"]


def test_secrets_that_others_can_open(laptop: Laptop) -> None:
    with edited(laptop.config, "server = 'https://ntfy.example.com'\ntoken = 'tk_x'\n"):
        laptop.config.chmod(0o644)
        report = one_wrong(laptop, "config")
        laptop.config.chmod(0o600)
    assert f"chmod 600 {laptop.config}" in report.text("config")
    assert "tk_x" not in str(report.content)


def test_a_state_directory_that_is_none(own: Sshd) -> None:
    laptop = Laptop(own.client, XDG_STATE_HOME=os.fspath(own.client.home / "file"))
    (own.client.home / "file").write_text("")
    report = one_wrong(laptop, "state")
    assert f"{own.client.home / 'file'} is not a directory" in report.text("state")
    assert report.named("skipped") == ["records", "sessions"]


def test_no_ssh(laptop: Laptop) -> None:
    laptop.env["NSSH_SSH"] = "/nowhere/ssh"
    report = one_wrong(laptop, "ssh")
    assert "install the OpenSSH client" in report.text("ssh")


def test_a_browser_that_is_not_there(laptop: Laptop) -> None:
    with edited(laptop.config, "[browser]\ncommand = 'no-such-browser'\n"):
        report = one_wrong(laptop, "browser")
    assert "browser" in report.text("browser")


def test_an_option_that_ssh_does_not_know(laptop: Laptop) -> None:
    report = one_wrong(laptop, "target", host=("devbox", "-o", "NoSuchOption=yes"))
    assert "nosuchoption" in report.text("target").lower()


# The way in.


def test_a_port_where_nobody_listens(laptop: Laptop) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        report = one_wrong(laptop, "login", host=("devbox", "-p", str(port)))
    assert "Connection refused" in report.text("login")
    assert f"nothing listens on port {port}" in report.text("login")
    assert report.named("ok")[-1] == "sessions"


def test_a_host_that_never_answers(laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = one_wrong(laptop, "login", "--timeout", "1s", host=("devbox", "-p", str(silent.getsockname()[1])))
    assert report.steps["login"]["text"]


def test_a_name_that_does_not_resolve(laptop: Laptop) -> None:
    report = one_wrong(laptop, "login", host=("nowhere.invalid",))
    assert "Could not resolve" in report.text("login")
    assert "correct the name" in report.text("login")


def test_a_host_key_that_changed(own: Sshd) -> None:
    laptop = Laptop(own.client)
    own.change_host_key()
    report = one_wrong(laptop, "login")
    assert "has changed" in report.text("login")
    assert f"{own.client.known_hosts}:1" in report.text("login")
    assert "compare the new key" in report.text("login")


def test_a_host_that_was_never_met(own: Sshd) -> None:
    laptop = Laptop(own.client)
    own.client.known_hosts.write_text("")
    report = one_wrong(laptop, "login")
    assert "connect once with ssh devbox" in report.text("login")


def test_a_key_that_is_not_accepted(own: Sshd) -> None:
    laptop = Laptop(own.client)
    (own.directory / "authorized_keys").write_text("")
    report = one_wrong(laptop, "login")
    assert "Permission denied" in report.text("login")
    assert "ssh-copy-id devbox" in report.text("login")


def test_a_shell_that_runs_no_scripts(own: Sshd) -> None:
    laptop = Laptop(own.client)
    own.write_home(".bashrc", "echo go away; exit 0\n")
    report = one_wrong(laptop, "shell")
    assert "go away" in report.text("shell")


def test_no_forwarding_is_a_limit() -> None:
    with Sshd(options=["AllowTcpForwarding no"]) as remote:
        laptop = Laptop(remote.client)
        laptop.infect()
        remote.write_home(".profile", PATH_LINE)
        remote.write_home(".bashrc", PATH_LINE)
        report = doctor(laptop)
        assert report.status == 0
        assert "AllowTcpForwarding" in report.text("forwarding")
        assert report.steps["paste"]["state"] == "ok"
        with RemoteShell(laptop):
            laptop.wait_up()
            assert doctor(laptop).steps["forwarding"]["state"] == "warning"
        laptop.wait_gone()


# The bus.


def ntfy_laptop(remote: Sshd, url: str, token: str) -> Laptop:
    return Laptop(remote.client, f'server = "{url}"\ntoken = "{token}"')


def test_an_ntfy_server_that_is_down(remote: Sshd) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        report = one_wrong(ntfy_laptop(remote, url, "tk_x"), "bus")
        assert "connection refused" in report.text("bus")
        assert report.steps["bus"]["advice"] == "start it, or correct server in config.toml"
        report = one_wrong(Laptop(remote.client, NSSH_NTFY_BASE=url), "bus")
        assert report.steps["bus"]["advice"] == "start it, or correct $NSSH_NTFY_BASE"


def test_a_wrong_token(remote: Sshd, server: NtfyServer) -> None:
    token = "tk_" + "x" * 29
    report = one_wrong(ntfy_laptop(remote, server.url, token), "subscribe")
    assert "refuses these credentials" in report.text("subscribe")
    assert token not in str(report.content)
    assert report.steps["bus-from-remote"]["state"] == "ok"


def test_a_server_that_hangs(remote: Sshd, server: NtfyServer) -> None:
    laptop = ntfy_laptop(remote, server.url, server.token)
    server.pause()
    try:
        report = one_wrong(laptop, "bus", "--timeout", "5s")
    finally:
        server.resume()
    assert "does not answer" in report.text("bus")


def test_a_relay_of_the_sessions_that_hangs(remote: Sshd, laptop: Laptop) -> None:
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        (relay,) = [one for one in remote.leftovers() if "serve" in one.cmdline()]
        relay.suspend()
        report = doctor(laptop)
        assert "relay" in report.named("failed")
        assert "sessions" in report.named("failed")
        assert report.steps["paste"]["state"] == "ok", "ours is another one"
        advice = report.steps["relay"]["advice"].removeprefix("on devbox, ")
        assert shell.run(advice.partition(" ends it")[0])[0] == 0
        relay.wait(DEADLINE)
        assert shell.run("xdg-open http://a.example/")[0] == 0
        laptop.wait_opened("http://a.example/")
        assert doctor(laptop).status == 0
    laptop.wait_gone()
    (remote.state / "nssh/session").unlink()


# Sessions.


def test_a_session_file_of_somebody_else(remote: Sshd, laptop: Laptop) -> None:
    path = remote.state / "nssh/session"
    with RemoteShell(laptop):
        (record,) = laptop.wait_up()
        other = record.topic[:-4] + "aaaa"
        with edited(path, path.read_text().replace(record.topic, other)):
            before = tree(path)
            report = one_wrong(laptop, "session-file")
            assert tree(path) == before
        assert "programs there speak to another session" in report.text("session-file")
        assert record.topic not in str(report.content)
        assert other not in str(report.content)
        path.chmod(0o644)
        assert "others can open" in one_wrong(laptop, "session-file").text("session-file")
        path.unlink()
        assert "is missing, though a session is live" in one_wrong(laptop, "session-file").text("session-file")
    laptop.wait_gone()


def test_a_config_there_that_beats_the_session_file(own: Sshd) -> None:
    laptop = Laptop(own.client)
    with RemoteShell(laptop):
        laptop.wait_up()
        own.write_home(".config/nssh/config.toml", 'topic = "nssh_another"\n')
        report = one_wrong(laptop, "session-file")
        assert f"{own.config}/nssh/config.toml there beats the session file" in report.text("session-file")
        assert report.steps["paste"]["state"] == "ok", "the doctor's own session is not concerned"
    laptop.wait_gone()


def test_files_there_that_no_shim_can_read(own: Sshd) -> None:
    laptop = Laptop(own.client)
    with RemoteShell(laptop):
        laptop.wait_up()
        config = own.write_home(".config/nssh/config.toml", "rubbish\n")
        report = one_wrong(laptop, "session-file")
        assert f"{config}: line 1: expected" in report.text("session-file")
        assert "on devbox, correct it" in report.text("session-file")
        config.unlink()
        path = own.write_home(".local/state/nssh/session", "rubbish\n")
        report = one_wrong(laptop, "session-file")
        assert f"{path}: line 1: expected" in report.text("session-file")
        assert "end the session; nssh devbox writes it anew" in report.text("session-file")
    laptop.wait_gone()
    with RemoteShell(laptop):
        laptop.wait_up()
        assert doctor(laptop).status == 0
    laptop.wait_gone()


def test_a_record_of_a_session_that_died_is_told_and_removed(laptop: Laptop) -> None:
    directory = laptop.state / "sessions"
    directory.mkdir(mode=0o700, exist_ok=True)
    dead = next(pid for pid in range(4_000_000, 2, -1) if not process.birth(pid))
    record = {"pid": dead, "birth": "0/1", "key": "x", "topic": "nssh_secret", "started": "2026-01-01T00:00:00Z"}
    files.write_private(os.fspath(directory / f"{dead}.json"), json.dumps(record).encode())
    (directory / f"{dead}.sock").write_text("")
    report = doctor(laptop)
    assert f"{dead}.json, {dead}.sock of sessions that died: removed" in report.text("records")
    # Nothing is wrong any more.
    assert report.status == 0
    assert report.steps["records"]["state"] == "warning"
    assert not list(directory.glob(f"{dead}.*"))
    assert doctor(laptop).steps["records"]["state"] == "ok"


@pytest.mark.parametrize("whom", ["bridge", "launcher"])
def test_a_session_that_does_not_answer(laptop: Laptop, whom: str) -> None:
    with RemoteShell(laptop) as shell:
        (record,) = laptop.wait_up()
        held = psutil.Process(record.bridge if whom == "bridge" else shell.pid)
        held.send_signal(signal.SIGSTOP)
        try:
            report = one_wrong(laptop, "sessions")
        finally:
            held.send_signal(signal.SIGCONT)
        assert f"{record.pid} (ssh, leader) does not answer" in report.text("sessions")
        assert "nssh --replace devbox" in report.text("sessions")
        assert report.steps["login"]["state"] == "ok"
    laptop.wait_gone()


# The command line.


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--jsn", "devbox"],
        ["--timeout", "devbox"],
        ["--timeout=0s", "devbox"],
        ["devbox", "uptime"],
        ["-N", "devbox"],
        ["devbox", "otherbox"],
    ],
)
def test_wrong_usage(laptop: Laptop, arguments: list[str]) -> None:
    done = laptop.run("doctor", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nssh: ")
