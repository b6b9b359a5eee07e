from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from nssh import __version__
from nssh.base.errors import RemoteError
from nssh.install import deploy
from nssh.remote import version
from nssh.ssh.batch_connection import BatchConnection
from nssh.ssh.identity import resolve
from nssh.ssh.paramiko_connection import ParamikoConnection
from nssh.ssh.remote_command import remote_command
from nssh.wire import session_file
from tests.lab.sshd import Sshd
from tests.remote.support import TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.ssh.connection import ByteStream, Connection

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def remote() -> Iterator[Sshd]:
    with Sshd() as sshd:
        yield sshd


def connections(remote: Sshd) -> list[Connection]:
    target = resolve(remote.client.ssh, remote.alias, ())
    return [BatchConnection(target), ParamikoConnection(target)]


def run(remote: Sshd, command: str) -> str:
    words = [*remote.client.ssh, remote.alias, command]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env=remote.client.env(),
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.stdout + done.stderr


def exchange(stream: ByteStream, request: str) -> str:
    stream.settimeout(30)
    stream.sendall(request.encode())
    data = b""
    while b"\r\n\r\n" not in data or data.partition(b"\r\n\r\n")[2].count(b"\n") < 1:
        piece = stream.recv(65536)
        assert piece, data
        data += piece
    return data.decode()


def test_infected_over_ssh_a_remote_serves_its_laptop_through_dial(remote: Sshd) -> None:
    batch, paramiko = connections(remote)
    try:
        report = deploy.infect(batch, host="devbox")
        assert (report.version, report.changed) == (__version__, True)
        assert deploy.infect(paramiko, host="devbox").changed is False
        (remote.state / "nssh").mkdir(parents=True)
        (remote.state / "nssh/session").write_text(session_file.render(session_file.Session("relay", TOPIC)))
        said = run(remote, f"{remote.home}/.local/bin/xdg-open https://example.com/")
        assert "kept until your laptop is back" in said
        for connection in (batch, paramiko):
            stream = connection.open_stream(remote_command("relay", "dial"))
            answer = exchange(stream, f"GET /{TOPIC}/json?poll=1&since=all HTTP/1.1\r\nHost: x\r\n\r\n")
            stream.close()
            line = next(line for line in answer.splitlines() if line.startswith("{"))
            assert json.loads(json.loads(line)["message"])["url"] == "https://example.com/"
        assert deploy.remove(paramiko, host="devbox").changed is True
        assert not (remote.data / "nssh").exists()
        assert not (remote.state / "nssh").exists()
        assert not (remote.home / ".local/bin").exists()
    finally:
        batch.close()
        paramiko.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_any_login_shell_and_its_noise_will_do(shell: str) -> None:
    with Sshd(shell=shell) as remote:
        noise = {"bash": ".bashrc", "zsh": ".zshenv", "fish": ".config/fish/config.fish", "tcsh": ".tcshrc"}[shell]
        remote.write_home(noise, "echo $HOME is noisy\necho -n 'error no end '\n")
        python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
        if python is None:
            pytest.skip("a second account sees no python3 here")
        connection = ParamikoConnection(resolve(remote.client.ssh, remote.alias, ()))
        try:
            report = deploy.infect(connection, host="devbox")
            assert report.changed is True
            assert any(shell in warning for warning in report.warnings), report.warnings
            done = connection.run(remote_command("version"))
            assert done.stdout.endswith(f"nssh {__version__}\n".encode())
            assert deploy.remove(connection).changed is True
        finally:
            connection.close()


def test_forwarded_x_is_no_desktop_and_a_desktop_is() -> None:
    for display, refused in (("localhost:10.0", False), (":0", True)):
        with Sshd(env={"DISPLAY": display}) as remote:
            batch, paramiko = connections(remote)
            paramiko.close()
            try:
                if refused:
                    with pytest.raises(RemoteError, match=r"^devbox: this looks like a desktop"):
                        deploy.infect(batch, host="devbox")
                    assert not remote.data.exists()
                else:
                    assert deploy.infect(batch, host="devbox").changed is True
            finally:
                batch.close()


def test_a_remote_without_python_is_named(remote: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, paramiko = connections(remote)
    paramiko.close()
    hidden = deploy._find_python().replace("python3", "no-such-python")
    monkeypatch.setattr(deploy, "_find_python", lambda: hidden)
    try:
        with pytest.raises(RemoteError, match=r"^no python3 on devbox: install python3"):
            deploy.infect(batch, host="devbox")
    finally:
        batch.close()


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "tcsh"])
def test_a_go_laptop_that_looks_over_ssh_finds_its_own_release(shell: str) -> None:
    """As it does at each connect, whatever the login shell is; see `nssh.remote.version`."""
    with Sshd(shell=shell) as remote:
        target = resolve(remote.client.ssh, remote.alias, ())
        connection = BatchConnection(target)
        try:
            deploy.infect(connection, host="devbox")
        finally:
            connection.close()
        script = """PATH="$HOME/.local/bin:$PATH"
echo "release: $(nssh --version 2>/dev/null | head -1 | awk '{print $2}')"
cat <<'END'
the rest
END
"""
        done = subprocess.run(
            [*remote.client.ssh, "-o", "BatchMode=yes", remote.alias, "bash", "-l", "-s"],
            input=script, capture_output=True, text=True, env=remote.client.env(), timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-2:] == [f"release: {version.GO_RELEASE}", "the rest"]
        assert run(remote, 'exec "$HOME/.local/bin/nssh" --version') == f"nssh {__version__}\n"
