"""`nssh sweep` as a remote runs it about itself, where only the shims are: real mosh-servers behind a real sshd."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.laptop import Laptop
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.sweep.support import (
    Window,
    listed,
    require_utmp,
    start_server,
    sweep,
    wait_detached,
    wait_ended,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real

ON_PATH = 'PATH="$HOME/.local/bin:$PATH"; export PATH; '
FIELDS = ("pid", "state", "client", "runs", "spared", "chosen", "fate")


@pytest.fixture(scope="module", autouse=True)
def infected(remote: Sshd) -> None:
    Laptop(remote.client).infect()


@pytest.fixture(autouse=True)
def clean(laptop: Laptop) -> Iterator[None]:
    """Each test ends without servers."""
    yield
    sweep(laptop, "--all", "--min-age", "0", "--include-mine", "devbox")


def there(remote: Sshd, laptop: Laptop, words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `nssh sweep` on the remote, without a terminal."""
    done = subprocess.run(
        [*remote.client.ssh, remote.alias, f"{ON_PATH}nssh sweep {words}"], env=laptop.env, capture_output=True,
        text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def servers(remote: Sshd, laptop: Laptop, words: str, status: int = 0) -> list[dict[str, Any]]:
    (host,) = json.loads(there(remote, laptop, f"--json {words}", status).stdout)
    assert host["error"] is None
    found: list[dict[str, Any]] = host["servers"]
    return found


def on_terminal(remote: Sshd, laptop: Laptop, words: str) -> Terminal:
    command = [*remote.client.ssh, "-tt", remote.alias, f"{ON_PATH}exec nssh sweep {words}"]
    return Terminal(command, laptop.env, columns=120)


def test_the_list_is_the_laptop_s(remote: Sshd, laptop: Laptop) -> None:
    require_utmp()
    left, kept = start_server(remote, laptop), start_server(remote, laptop)
    window, lost = Window(laptop, kept), Window(laptop, left)
    try:
        lost.close()
        wait_detached(left)
        start_server(remote, laptop)
        for words in ("--min-age 0", "--include-mine", "--dry-run --older 1h", "--dry-run --detached --min-age 0"):
            here, from_laptop = servers(remote, laptop, words), listed(laptop, *words.split(), "devbox")
            chosen = [[{name: one[name] for name in FIELDS} for one in found] for found in (here, from_laptop)]
            assert chosen[0] == chosen[1], words
            assert [one["pid"] for one in here if one["chosen"]] == ([left.pid] if "--detached" in words else [])
        # What people read.
        table = there(remote, laptop, "--dry-run --detached --min-age 0").stdout.splitlines()
        assert re.split(" {2,}", table[0]) == ["HOST", "PID", "AGE", "STATE", "CLIENT", "IDLE", "RUNS"]
        assert re.split(" +", next(line for line in table if f" {left.pid} " in line))[-3:] == ["to", "be", "ended"]
        # By flags, only the one that nobody is attached to.
        done = there(remote, laptop, "--detached --min-age 0")
        assert re.search(rf"(?m)^\S+ +{left.pid} .* (ended|killed)$", done.stdout), done.stdout
        wait_ended(left)
        assert kept.runs
    finally:
        window.close()


def test_young_ones_are_spared_unless_told_otherwise(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    (one,) = servers(remote, laptop, "--all")
    assert (one["pid"], one["spared"], one["chosen"]) == (server.pid, "too young", False)
    assert "spared: too young" in there(remote, laptop, "--all").stdout
    assert there(remote, laptop, "--older 1h").stdout == "nothing to end\n"
    assert server.runs
    (one,) = servers(remote, laptop, "--all --min-age 0")
    assert (one["chosen"], one["fate"]) == (True, "ended")
    wait_ended(server)
    assert there(remote, laptop, "--all").stdout == "no mosh-servers\n"
    assert servers(remote, laptop, "") == []


def test_without_a_terminal_something_has_to_choose(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    done = there(remote, laptop, "--min-age 0", 2)
    assert done.stderr == (
        "nssh: no terminal to choose on: --all, --older DUR or --detached say which mosh-servers to end, "
        "--dry-run lists\n"
    )
    assert done.stdout == ""
    assert server.runs


def test_one_that_is_deaf_is_killed(remote: Sshd, laptop: Laptop) -> None:
    server = start_server(remote, laptop)
    server.process.suspend()
    started = time.monotonic()
    (one,) = servers(remote, laptop, "--all --min-age 0")
    assert one["fate"] == "killed"
    assert time.monotonic() - started > 10, "it had its time"
    wait_ended(server)


@pytest.mark.parametrize("separator", [",", " ", ", "])
def test_pids_are_chosen_at_the_prompt(remote: Sshd, laptop: Laptop, separator: str) -> None:
    one, other, third = (start_server(remote, laptop) for _ in range(3))
    with on_terminal(remote, laptop, "--min-age 0") as window:
        window.expect(b"End which? PIDs, all, old (older than 24 h), detached; Enter or q for none: ")
        assert all(str(server.pid).encode() in window.output for server in (one, other, third))
        window.send(b"1\r")
        window.expect(b"nssh: 1 is no PID in the list")
        window.expect(b"for none: ")
        window.send(b"old\r")
        window.expect(b"nssh: none is older than 24 h")
        window.expect(b"for none: ")
        window.send(f"{one.pid}{separator}{third.pid}\r".encode())
        assert window.wait() == 0
        assert len(re.findall(rb"(?m) ended\r$", window.output)) == 2
    wait_ended(one, third)
    assert other.runs


def test_all_are_chosen_by_a_word(remote: Sshd, laptop: Laptop) -> None:
    one, other = (start_server(remote, laptop) for _ in range(2))
    with on_terminal(remote, laptop, "--min-age 0") as window:
        window.expect(b"for none: ")
        window.send(b"a\r")
        assert window.wait() == 0
    wait_ended(one, other)


@pytest.mark.parametrize("answer", [b"\r", b"q\r", b"cancel\r", b"\x04", b"\x03"])
def test_the_prompt_is_cancelled(remote: Sshd, laptop: Laptop, answer: bytes) -> None:
    server = start_server(remote, laptop)
    with on_terminal(remote, laptop, "--min-age 0") as window:
        window.expect(b"for none: ")
        window.send(answer)
        assert window.wait() in {130, 255}  # OpenSSH tells a death by a signal as 255
        assert (b"nssh: cancelled" in window.output) == (answer != b"\x03")
    assert server.runs


@pytest.mark.parametrize(("answer", "ends"), [(b"y\r", True), (b"Yes\r", True), (b"\r", False), (b"n\r", False)])
def test_what_flags_chose_is_asked_about(remote: Sshd, laptop: Laptop, answer: bytes, *, ends: bool) -> None:
    server = start_server(remote, laptop)
    with on_terminal(remote, laptop, "--all --min-age 0") as window:
        window.expect(b"End this mosh-server? [y/N] ")
        assert str(server.pid).encode() in window.output
        window.send(answer)
        assert window.wait() == (0 if ends else 130)
    if ends:
        wait_ended(server)
    assert server.runs != ends


def test_yes_is_not_asked_and_ctrl_c_spares_who_is_left(remote: Sshd, laptop: Laptop) -> None:
    deaf = start_server(remote, laptop)
    deaf.process.suspend()

    def signalled() -> bool:
        with open(f"/proc/{deaf.pid}/status") as file:
            pending = re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", file.read())
        return any(int(one, 16) >> 14 & 1 for one in pending)  # SIGTERM

    with on_terminal(remote, laptop, "--all --yes --min-age 0") as window:
        wait_until(signalled, "it got its SIGTERM")
        window.send(b"\x03")
        assert window.wait() == 130
        assert re.search(rb"(?m) not known\r$", window.output)
        assert b"End this" not in window.output
    assert deaf.runs
    deaf.process.resume()
    wait_ended(deaf)


def test_the_server_that_one_is_in_is_spared(remote: Sshd, laptop: Laptop) -> None:
    server, other = start_server(remote, laptop), start_server(remote, laptop)
    window = Window(laptop, server)
    try:
        output = remote.home / "swept"
        line = f"{ON_PATH}nssh sweep --json --min-age 0 > {output}.part; mv {output}.part {output}\r"
        window.terminal.send(line.encode())
        window.terminal.wait_until(output.exists, "it was swept from within")
        (host,) = json.loads(output.read_text())
        spared = {one["pid"]: one["spared"] for one in host["servers"]}
        assert spared == {server.pid: "you are in it", other.pid: None}
    finally:
        window.close()
