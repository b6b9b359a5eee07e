"""The bridge in a mosh session, on a terminal: over the relay and over a real ntfy server."""

from __future__ import annotations

import os
import random
import re
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.lab import system
from tests.lab.laptop import NSSH
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.session.support import own_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


class MoshShell:
    """A shell in a mosh session, which takes one command after another."""

    def __init__(self, laptop: Laptop) -> None:
        self.window = Terminal([*NSSH, "--mosh", "devbox"], laptop.env)
        self._count = 0
        self.window.send(b"PS1=; PATH=$HOME/.local/bin:$PATH\r")

    def run(self, command: str) -> int:
        """Run a command; return its exit status."""
        self._count += 1
        # Typed in two halves: mosh shows what is typed before it is run.
        self.window.send(f"{command}; printf '<%s:%s>\\n' $? do''ne{self._count}\r".encode())
        found = self.window.expect(_pattern(self._count))
        return int(found.group(1))


def _pattern(count: int) -> re.Pattern[bytes]:
    # mosh redraws only what differs, so the digits of a status may stand alone.
    return re.compile(rb"<(\d+):done%d>" % count)


@pytest.fixture
def shell(laptop: Laptop) -> Iterator[MoshShell]:
    """A mosh session with its bus up."""
    system.require("mosh")
    shell = MoshShell(laptop)
    try:
        with shell.window:
            laptop.wait_up()
            yield shell
            shell.window.send(b"exit\r")
            assert shell.window.wait() == 0
    finally:
        laptop.wait_gone()


def unique(tag: str) -> str:
    return f"http://example.com/{tag}?{random.randrange(10**9)}"  # noqa: S311 - no secret


def test_a_url_opens_once(laptop: Laptop, shell: MoshShell) -> None:
    url = unique("mosh")
    assert shell.run(f"xdg-open '{url}'") == 0
    laptop.wait_opened(url)
    assert laptop.opened().count(url) == 1
    assert [record.transport for record in laptop.sessions()] == ["mosh"]


def test_text_and_an_8_mb_image_go_out_and_come_back(shell: MoshShell) -> None:
    assert shell.run("printf mosh | xclip -selection clipboard -i") == 0
    assert shell.run('test "$(xclip -selection clipboard -o)" = mosh') == 0
    assert shell.run("cd; head -c 8388608 /dev/urandom > i && xclip -selection clipboard -t image/png -i i") == 0
    assert shell.run("xclip -selection clipboard -t image/png -o | cmp - i") == 0


def test_a_hundred_reads_in_a_row(shell: MoshShell) -> None:
    assert shell.run("printf steady | wl-copy") == 0
    reads = 'n=0; for i in $(seq 100); do [ "$(xclip -selection clipboard -o)" = steady ] && n=$((n+1)); done'
    assert shell.run(f"{reads}; [ $n = 100 ]") == 0


def test_the_master_of_the_login_may_die(laptop: Laptop, shell: MoshShell) -> None:
    """Roaming ends the login's TCP connection; mosh goes on, and so does the bridge, by a login of its own."""
    masters = [process for process in laptop.processes() if process.name() == "ssh"]
    for master in masters:
        master.kill()
    psutil.wait_procs(masters, timeout=5)
    url = unique("roamed")
    wait_until(lambda: [record.bus for record in laptop.sessions()] == ["up"], "the bus is up again")
    assert shell.run(f"xdg-open '{url}'") == 0
    laptop.wait_opened(url)
    assert laptop.opened().count(url) == 1


def test_a_killed_bridge_is_not_seen_on_the_terminal(laptop: Laptop, shell: MoshShell) -> None:
    (record,) = laptop.sessions()
    os.kill(record.bridge, signal.SIGKILL)
    url = unique("mosh-killed")
    assert shell.run(f"xdg-open '{url}'") == 0
    laptop.wait_opened(url)
    assert b"Traceback" not in shell.window.output
    assert own_lines(shell.window.output) == []
    assert shell.window.output.count(b"nssh:") == 1


def test_nothing_is_left_on_the_remote(laptop: Laptop, remote: Sshd) -> None:
    system.require("mosh")
    shell = MoshShell(laptop)
    with shell.window:
        laptop.wait_up()
        shell.window.send(b"exit\r")
        assert shell.window.wait() == 0
    laptop.wait_gone()
    wait_until(
        lambda: not [one for one in remote.leftovers() if "dial" in one.cmdline() or one.name() == "mosh-server"],
        "mosh-server and the dials are gone",
    )
