"""Sweeps and live sessions: our own are spared, also when swept from within, and a new one may sweep on connect."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from nssh.mosh import own_mosh
from nssh.mosh.own_mosh import MoshClient
from tests.lab import system
from tests.lab.account import Account
from tests.lab.laptop import NSSH, Laptop
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.sweep.support import ANY_PROMPT, Window, listed, require_utmp, start_server, sweep, wait_ended

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def terminals() -> None:
    if reason := system.no_ptys():
        pytest.skip(reason)


def mosh_servers(remote: Sshd) -> list[psutil.Process]:
    """The mosh-servers of the remote's account, but not the ones they make for their shells."""
    wanted = {"name": "mosh-server", "username": remote.user}
    found = [one for one in psutil.process_iter(["name", "username", "ppid"]) if wanted.items() <= one.info.items()]
    return [one for one in found if one.info["ppid"] not in {other.pid for other in found}]


def test_a_live_session_of_nssh_is_spared(remote: Sshd, laptop: Laptop) -> None:
    laptop.infect()
    other = start_server(remote, laptop)
    with Terminal([*NSSH, "--mosh", "devbox"], laptop.env) as window:
        window.expect(ANY_PROMPT)
        laptop.wait_up()
        (session,) = [one for one in mosh_servers(remote) if one.pid != other.pid]
        environ = session.environ()
        assert (environ["MOSH_SERVER_NETWORK_TMOUT"], environ["MOSH_SERVER_SIGNAL_TMOUT"]) == ("2592000", "60")
        found = {one["pid"]: one for one in listed(laptop, "--all", "--min-age", "0", "devbox")}
        assert found[session.pid]["spared"] == "a session of yours here"
        assert found[other.pid]["fate"] == "ended"
        window.send(b"printf 'al%s' ive\r")
        window.expect(b"alive")
        # Only when it is asked for.
        sweep(laptop, "--all", "--min-age", "0", "--include-mine", "devbox")
        assert window.wait() == 0
    wait_ended(other)
    wait_until(lambda: not mosh_servers(remote), "its server is gone")


def test_whoever_runs_a_mosh_client_here_it_counts(tmp_path: Path) -> None:
    """As with `sudo nssh sweep`: the session on the screen is of the account that sudo was called in."""
    account = Account(tmp_path, "sh")
    directory = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))  # pytest's are for one account
    try:
        directory.chmod(0o755)
        program = directory / "mosh-client"
        shutil.copy(system.require("dash")[0], program)
        words = [os.fspath(program), "-c", "echo ready; read -r _", "192.0.2.99", "60999"]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=account.name, cwd="/"
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == b"ready\n"
            assert MoshClient("192.0.2.99", 60999) in own_mosh.look().clients
            assert MoshClient("192.0.2.99", 60999) in own_mosh.look(proc="/nowhere").clients  # by ps
            assert MoshClient("192.0.2.99", 60999, "its key") in own_mosh.look({os.getpid(): "its key"}).clients
            running.communicate()
    finally:
        shutil.rmtree(directory)
        account.remove()


def multiplexer(within: str, directory: Path) -> tuple[str, str]:
    """Return the commands that start one, showing `[inside]`, and that end it; `` for none."""
    if within == "tmux":
        tmux = f"tmux -L {directory.name} -f /dev/null"
        return f"{tmux} new -s inside", f"{tmux} kill-server"
    if within == "screen":
        config, sockets = directory / "screenrc", directory / "sockets"
        config.write_text('startup_message off\nhardstatus alwayslastline "[inside]"\n')
        sockets.mkdir(mode=0o700)
        screen = f"env SCREENDIR={sockets} screen"
        # Detached once: until then its server is the child of its client. It can be resumed as soon as it listens.
        begin = f"{screen} -c {config} -dmS inside; until {screen} -r inside; do sleep 0.1; done"
        return begin, f"{screen} -S inside -X quit"
    return "", ""


@pytest.mark.parametrize("within", ["mosh", "tmux", "screen"])
def test_the_server_that_one_is_in_is_spared(tmp_path: Path, within: str) -> None:
    """The remote is the machine that is swept from. It is our own account's, so nothing but a list is asked for."""
    system.require("mosh-server", *([within] if within != "mosh" else []))
    with Sshd() as here:
        laptop = Laptop(here.client)
        server = start_server(here, laptop)
        output = tmp_path / "listed"
        script = tmp_path / "sweep"
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in laptop.env.items() if name not in {"TMUX", "STY"}
        )
        script.write_text(
            f"{exports}{shlex.join(NSSH)} sweep --json devbox > {output}.part; mv {output}.part {output}\n"
        )
        window = Window(laptop, server)
        begin, end = multiplexer(within, tmp_path)
        try:
            if begin:
                window.terminal.send(f"{begin}\r".encode())
                window.terminal.expect(b"[inside]")
            window.terminal.send(f"sh {script}\r".encode())
            window.terminal.wait_until(output.exists, "it was swept from within")
            (host,) = json.loads(output.read_text())
            spared = {one["pid"]: one["spared"] for one in host["servers"]}
            assert spared[server.pid] == "you are in it"
        finally:
            if end:
                subprocess.run(end.split(), check=False, capture_output=True)
            window.close()


def outcome(laptop: Laptop) -> list[dict[str, Any]]:
    """What sessions logged of sweeps of theirs; those of `nssh sweep` name the host."""
    told = [event for event in laptop.events() if event["event"] in {"sweep-fate", "sweep-failed"}]
    return [event for event in told if "host" not in event]


def test_a_session_sweeps_what_was_forgotten_when_it_connects(remote: Sshd, laptop: Laptop) -> None:
    """61 seconds stand for a week: younger ones are spared in any case."""
    require_utmp()
    laptop.infect()
    forgotten, used = start_server(remote, laptop), start_server(remote, laptop)
    # Its client was there once, or it would end by itself; the other's is there still, as utmp says.
    Window(laptop, forgotten).close()
    window = Window(laptop, used)
    lines = laptop.config.read_text()
    laptop.config.write_text(f'{lines}\n[sweep]\non_connect = "61s"\n')
    try:
        wait_until(lambda: all(min(one["idle"], one["age"]) > 61 for one in listed(laptop, "devbox")), "old", 100.0)
        with Terminal([*NSSH, "--mosh", "devbox"], laptop.env) as session:
            session.expect(ANY_PROMPT)
            session.wait_until(lambda: outcome(laptop), "it has swept", 60.0)
            assert [(event["event"], event["server"], event["fate"]) for event in outcome(laptop)] == [
                ("sweep-fate", forgotten.pid, "ended")
            ]
            assert used.runs
            session.send(b"exit\r")
            session.wait()
            assert b"sweep" not in session.output
    finally:
        window.close()
    wait_ended(forgotten)
    os.kill(used.pid, 15)


def test_by_default_nothing_is_swept_on_connect() -> None:
    from nssh.config.settings import Config

    assert Config().sweep.on_connect is None
