"""Sessions without a terminal, and ssh's own arguments: nssh is ssh to scripts."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import NSSH
from tests.lab.ports import free_port
from tests.lab.sshd import can_connect, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real

FLOWS = pytest.mark.parametrize("mode", [[], ["--ssh"]], ids=["default", "ssh"])


def nssh(laptop: Laptop, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*NSSH, *arguments], env=laptop.env, input=stdin, capture_output=True, timeout=60, check=False
    )


@FLOWS
def test_five_megabytes_go_through_both_ways(relay_laptop: Laptop, mode: list[str]) -> None:
    data = os.urandom(5 << 20)
    done = nssh(relay_laptop, *mode, "devbox", "cat", stdin=data)
    assert done.returncode == 0
    assert done.stdout == data
    assert done.stderr == b""


@FLOWS
def test_the_two_outputs_stay_apart(relay_laptop: Laptop, mode: list[str]) -> None:
    done = nssh(relay_laptop, *mode, "devbox", "echo to out; echo to err >&2")
    assert (done.stdout, done.stderr) == (b"to out\n", b"to err\n")


def test_data_is_piped_into_a_file(relay_laptop: Laptop, remote: Sshd) -> None:
    done = nssh(relay_laptop, "devbox", f"cat > {remote.home}/piped", stdin=b"data\0\r\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (remote.home / "piped").read_bytes() == b"data\0\r\n"


def test_a_script_on_stdin_is_run_by_the_login_shell(relay_laptop: Laptop) -> None:
    done = nssh(relay_laptop, "-T", "devbox", stdin=b"echo one\nexit 4\n")
    assert done.stdout.splitlines()[-1] == b"one"
    assert done.returncode == 4


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_stream_is_no_worse_than_with_ssh(relay_laptop: Laptop, tmp_path: Path, closed: int) -> None:
    """`nssh host cmd <&-`: nothing of ours may land on the free descriptor."""
    outcomes = []
    for program in (relay_laptop.client.ssh, NSSH):
        target = tmp_path / "made"
        target.unlink(missing_ok=True)
        script = f'"$@" {"<" if closed == 0 else closed if closed == 2 else ""}{"&-" if closed == 0 else ">&-"}'
        done = subprocess.run(
            ["sh", "-c", script, "sh", *program, "devbox", f"echo ran > {target}; echo out; echo err >&2"],
            env=relay_laptop.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        outcomes.append((target.read_text(), done.returncode, done.stdout, done.stderr))
    assert outcomes[0] == outcomes[1]


def test_arguments_reach_the_remote_as_with_ssh(relay_laptop: Laptop) -> None:
    words = ["printf", "'<%s>'", "'a  b'", '"$HOME"', "-p", "--", "x"]
    ours = nssh(relay_laptop, "devbox", *words)
    theirs = subprocess.run(
        [*relay_laptop.client.ssh, "devbox", *words], env=relay_laptop.env, capture_output=True, timeout=60, check=False
    )
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, theirs.returncode)
    assert ours.stdout.startswith(b"<a  b>")


def test_options_after_the_host_are_ssh_s(relay_laptop: Laptop, remote: Sshd) -> None:
    """`-F`, `-p`, `-l`, `-i` and `-o` behind an address, without any entry for it."""
    other = relay_laptop.client.directory / "other_config"
    other.write_text(f"UserKnownHostsFile {relay_laptop.client.known_hosts}\nStrictHostKeyChecking yes\n")
    environ = {name: value for name, value in relay_laptop.env.items() if name != "NSSH_SSH"}
    words = [remote.address, "-F", os.fspath(other), "-p", str(remote.port), "-l", remote.user]
    words += ["-i", os.fspath(relay_laptop.client.key), "-o", "SendEnv=LANG", "echo", "there"]
    done = subprocess.run([*NSSH, *words], env=environ, capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"there\n", b"", 0)


def test_a_forwarded_port_works_and_is_gone_with_the_session(relay_laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as behind:
        port = free_port()
        forward = f"{port}:127.0.0.1:{behind.getsockname()[1]}"
        with subprocess.Popen(
            [*NSSH, "devbox", "-L", forward, "echo ready; exec cat"],
            env=relay_laptop.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as session:
            assert session.stdout is not None
            assert session.stdin is not None
            assert session.stdout.readline() == b"ready\n"
            with socket.create_connection(("127.0.0.1", port), 10) as near:
                far, _ = behind.accept()
                with far:
                    near.sendall(b"through")
                    assert far.recv(100) == b"through"
            session.stdin.close()
            assert session.wait(30) == 0
    relay_laptop.wait_gone()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)


@pytest.mark.parametrize("words", [["-G", "devbox"], ["-V"], ["-Q", "cipher"], ["-O", "check", "devbox"]])
def test_what_is_no_session_is_left_to_ssh(relay_laptop: Laptop, words: list[str]) -> None:
    theirs = subprocess.run(
        [*relay_laptop.client.ssh, *words], env=relay_laptop.env, capture_output=True, timeout=60, check=False
    )
    # -V as the first word is nssh's own version.
    ours = nssh(relay_laptop, *(["-4", "-V"] if words == ["-V"] else words))
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, theirs.returncode)
    assert relay_laptop.processes() == []


def test_forwarding_alone_is_left_to_ssh(relay_laptop: Laptop) -> None:
    """-N: no session, no bridge."""
    path = os.fspath(relay_laptop.client.directory / "sock")
    with subprocess.Popen(
        [*NSSH, "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{path}:127.0.0.1:9", "devbox"], env=relay_laptop.env
    ) as session:
        wait_until(lambda: can_connect(path), "the forwarding is there")
        assert [process.pid for process in relay_laptop.processes()] == [session.pid]
        session.terminate()
        session.wait(30)


def test_a_control_path_of_the_user_s_is_used_and_left_alone(relay_laptop: Laptop) -> None:
    client = relay_laptop.client
    with client.master() as path:
        options = client.options("devbox")
        client.host("devbox", *options, f"ControlPath {path}")
        try:
            assert nssh(relay_laptop, "devbox", "exit 3").returncode == 3
            wait_until(lambda: len(relay_laptop.processes()) == 1, "the bridge is gone")
            assert can_connect(os.fspath(path)), "the user's master was ended"
        finally:
            client.host("devbox", *options)
