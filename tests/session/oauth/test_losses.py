"""A login goes on whatever is lost meanwhile: the bridge, the session that listened, the connection."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import signal
from typing import TYPE_CHECKING

import pytest

from nssh.base import process
from tests.lab import system
from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.ports import free_port
from tests.lab.tools import DEADLINE, wait_until
from tests.session.oauth.play import Login, is_listened_on, wait_joined
from tests.session.test_bridge import bridge_of
from tests.session.test_bridge_mosh import MoshShell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


def test_a_login_survives_the_bridge(laptop: Laptop) -> None:
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        login = Login(shell)
        bridge = bridge_of(shell)
        bridge.kill()
        bridge.wait(DEADLINE)
        wait_until(lambda: is_listened_on(login.port), "the next bridge listens")
        assert login.answer("c0de_of_this_login_") == "logged in as c0de_of_this_login_"
        login.finish("c0de_of_this_login_")


def test_a_login_survives_the_session_that_listened(laptop: Laptop) -> None:
    with contextlib.ExitStack() as stack:
        first = RemoteShell(laptop)
        stack.callback(first.close)
        laptop.wait_up()
        with RemoteShell(laptop) as second:
            wait_joined(laptop)
            login = Login(second)
            bridge = bridge_of(first)
            os.kill(first.pid, signal.SIGKILL)
            first.process.wait(DEADLINE)
            wait_until(lambda: not process.birth(bridge.pid), "its bridge goes, too")
            wait_until(lambda: is_listened_on(login.port), "the second session listens")
            assert login.answer("c0de_of_this_login_") == "logged in as c0de_of_this_login_"
            login.finish("c0de_of_this_login_")


def test_a_login_survives_a_connection_that_is_lost(laptop: Laptop, apart: Sshd) -> None:
    """The session's own ssh ends with it, so the login runs on in the background, as it does under mosh or tmux."""
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        port = free_port()
        out = apart.home / "out"
        out.unlink(missing_ok=True)
        command = (
            f"(setsid python3 ~/login.py 'http://localhost:{port}/' 'https://provider.example/?r=' > {out} 2>&1 &)"
        )
        assert shell.run(command)[0] == 0
        wait_until(lambda: is_listened_on(port), "it is listened on")
        apart.kill_sessions()
        shell.process.wait(DEADLINE)
    wait_until(lambda: not is_listened_on(port), "the session's bridge is gone")
    with RemoteShell(laptop):
        wait_until(lambda: is_listened_on(port), "the next session listens")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2 * DEADLINE)
        connection.request("GET", "/?code=c0de_of_this_login_")
        assert connection.getresponse().read() == b"logged in as c0de_of_this_login_"
        connection.close()
        wait_until(lambda: out.read_text() == "got c0de_of_this_login_\n", "the program has it")


@pytest.fixture
def mosh(laptop: Laptop) -> Iterator[MoshShell]:
    """A mosh session with its bus up."""
    system.require("mosh")
    shell = MoshShell(laptop)
    with shell.window:
        laptop.wait_up()
        yield shell
        shell.window.send(b"exit\r")
        assert shell.window.wait() == 0


@pytest.mark.parametrize("loss", ["cut", "silent"])
def test_a_login_in_a_mosh_session_survives_its_ssh(laptop: Laptop, apart: Sshd, mosh: MoshShell, loss: str) -> None:
    port = free_port()
    out = apart.home / f"mosh-{loss}"
    assert mosh.run(f"python3 ~/login.py http://localhost:{port}/ 'https://provider.example/?r=' > {out} & true") == 0
    wait_until(lambda: is_listened_on(port), "it is listened on")
    assert laptop.sessions()[0].route == "control"
    stopped = []
    if loss == "cut":
        apart.kill_sessions()
    else:  # as after roaming: the connection looks alive, and nothing comes
        for process in [one for session in apart.sessions() for one in (session, *session.children())]:
            if "sshd" in process.name():
                process.suspend()
                stopped.append(process)
        assert stopped
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3 * DEADLINE)
        with contextlib.closing(connection):
            connection.request("GET", "/?code=c0de_of_this_login_")
            assert connection.getresponse().read() == b"logged in as c0de_of_this_login_"
        wait_until(lambda: out.read_text() == "got c0de_of_this_login_\n", "the program has it")
        assert laptop.sessions()[0].route == "paramiko"
    finally:
        for process in stopped:
            process.kill()
