"""Sessions over mosh, and what is said when a side lacks it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.lab.laptop import NSSH, Laptop
from tests.lab.sshd import Sshd, wait_until
from tests.lab.system import require
from tests.lab.terminal import Terminal
from tests.session.support import ANY_PROMPT, directory_with, mosh_servers, own_lines, without_mosh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

# What the login shell, the prepare script and the shims need on a remote's PATH.
REMOTE_PROGRAMS = ("sh", "bash", "dd", "mkdir", "chmod", "mv", "rm", "cat", "env", "python3")


@pytest.fixture(autouse=True)
def mosh() -> None:
    require("mosh")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[tuple[Laptop, Sshd, Path]]:
    """A remote whose PATH is a directory of the test's."""
    path = tmp_path / "bin"
    directory_with(path, REMOTE_PROGRAMS)
    # The root shell's start-up files may set a PATH of their own: a shell that reads none.
    force = f'ForceCommand PATH={path} sh -c "${{SSH_ORIGINAL_COMMAND:-exec sh -i}}"'
    with Sshd(options=[force]) as remote:
        laptop = Laptop(remote.client)
        yield laptop, remote, path
        laptop.wait_gone()
        assert laptop.tracebacks() == ""


@pytest.mark.parametrize("mode", [["--mosh"], []], ids=["mosh", "default"])
def test_a_session_over_mosh_runs_and_ends_with_0(relay_laptop: Laptop, remote: Sshd, mode: list[str]) -> None:
    with Terminal([*NSSH, *mode, "devbox"], relay_laptop.env) as window:
        window.expect(ANY_PROMPT)
        (record,) = relay_laptop.wait_up()
        assert record.transport == "mosh"
        assert window.child("mosh-client")
        (server,) = mosh_servers(remote)
        assert "MOSH_SERVER_NETWORK_TMOUT" in server.environ()
        window.send(b"printf 'al%s' ive; exit 3\r")
        window.expect(b"alive")
        assert window.wait() == 0  # all that mosh tells
        assert window.attributes() == window.initial
    wait_until(lambda: not mosh_servers(remote), "mosh-server is gone")
    assert own_lines(window.output) == []


def test_the_key_is_in_no_command_line(relay_laptop: Laptop) -> None:
    with Terminal([*NSSH, "--mosh", "devbox"], relay_laptop.env) as window:
        window.expect(ANY_PROMPT)
        key = window.child("mosh-client").environ()["MOSH_KEY"]
        assert len(key) >= 20
        assert not [one for one in psutil.process_iter(["cmdline"]) if key in " ".join(one.info["cmdline"] or [])]
        assert key.encode() not in window.output
        window.send(b"exit\r")
        window.wait()


def test_a_command_is_given_to_mosh_word_by_word(relay_laptop: Laptop) -> None:
    with Terminal([*NSSH, "--mosh", "devbox", "--", "sh", "-c", 'printf "<%s>" "$@"; read word', "-", "a  b", "$HOME"],
                  relay_laptop.env) as window:  # fmt: skip
        window.expect(b"<a  b><$HOME>")
        window.send(b"\r")
        assert window.wait() == 0


def test_a_command_goes_by_ssh_unless_mosh_is_asked_for(relay_laptop: Laptop) -> None:
    """mosh tells no exit status and knows no shell's command line."""
    with Terminal([*NSSH, "devbox", "echo o''ne; exit 7"], relay_laptop.env) as window:
        assert window.wait() == 7
        assert window.output == b"one\r\n"


def test_a_killed_launcher_takes_mosh_client_with_it(relay_laptop: Laptop, remote: Sshd) -> None:
    with Terminal([*NSSH, "--mosh", "devbox"], relay_laptop.env) as window:
        window.expect(ANY_PROMPT)
        relay_laptop.wait_up()
        os.kill(window.pid, 9)
        window.wait()
        relay_laptop.wait_gone(deadline=5.0)
    for server in mosh_servers(remote):
        server.kill()  # it waits for its client to come back, as mosh's do


def test_no_mosh_client_here_is_one_line(relay_laptop: Laptop) -> None:
    without_mosh(relay_laptop)
    with Terminal([*NSSH, "--mosh", "devbox"], relay_laptop.env) as window:
        assert window.wait() == 1
        assert own_lines(window.output) == ["mosh-client is not on this machine's PATH: install mosh, or use --ssh"]
        assert window.output.count(b"\n") == 1


def test_without_mosh_client_the_default_is_ssh(relay_laptop: Laptop) -> None:
    without_mosh(relay_laptop)
    with Terminal([*NSSH, "devbox"], relay_laptop.env) as window:
        window.expect(ANY_PROMPT)
        (record,) = relay_laptop.wait_up()
        assert record.transport == "ssh"
        window.send(b"exit 3\r")
        assert window.wait() == 3
        assert own_lines(window.output) == []


def test_no_mosh_server_there_is_one_line(bare: tuple[Laptop, Sshd, Path]) -> None:
    laptop, _, _ = bare
    with Terminal([*NSSH, "--mosh", "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        window.send(b"n\r")
        assert window.wait() == 1
        lines = own_lines(window.output)
    assert lines[-1] == "devbox: mosh-server is not there: install mosh on it, or use --ssh"
    with Terminal([*NSSH, "--mosh", "devbox"], laptop.env) as window:
        assert window.wait() == 1
        assert own_lines(window.output) == lines[-1:]


def test_without_mosh_server_the_default_is_ssh_over_the_same_login(bare: tuple[Laptop, Sshd, Path]) -> None:
    laptop, remote, _ = bare
    with Terminal([*NSSH, "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        window.send(b"n\r")
        window.expect(ANY_PROMPT)
        window.send(b"exit 5\r")
        assert window.wait() == 5
    assert remote.log.read_text().count("Accepted publickey") == 1


@pytest.mark.parametrize("mode", [["--mosh"], []], ids=["mosh", "default"])
def test_a_mosh_server_that_fails_says_why_in_one_line(bare: tuple[Laptop, Sshd, Path], mode: list[str]) -> None:
    laptop, _, path = bare
    server = path / "mosh-server"
    server.write_text(
        "#!/bin/sh\necho 'mosh-server needs a UTF-8 native locale to run.'\necho 'Unfortunately, no.' >&2\nexit 1\n"
    )
    server.chmod(0o755)
    with Terminal([*NSSH, *mode, "devbox"], laptop.env) as window:
        window.expect(b"[Y/n] ")
        window.send(b"n\r")
        told = b"mosh-server needs a UTF-8 native locale to run.\r\n"
        if mode:
            window.expect(b"nssh: devbox: " + told)
            assert window.wait() == 1
        else:
            window.expect(b"nssh: using ssh: " + told)
            window.expect(ANY_PROMPT)
            window.send(b"exit 5\r")
            assert window.wait() == 5


def test_the_real_mosh_server_with_a_locale_that_is_not_there(relay_laptop: Laptop) -> None:
    """mosh-server falls back to the client's variables; when neither is UTF-8 it gives up."""
    environ = relay_laptop.env | {"LANG": "C", "LC_ALL": "C"}
    with Terminal([*NSSH, "--mosh", "devbox"], environ) as window:
        assert window.wait() == 1
        (line,) = own_lines(window.output)
        assert "UTF-8" in line
