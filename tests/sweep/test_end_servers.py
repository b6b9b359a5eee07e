"""The script that ends servers, by three shells and two ways to look at processes, on programs of the test's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nssh.mosh import end_servers
from nssh.mosh.end_servers import EndMethod, Fate
from nssh.mosh.mosh_servers import MoshServer
from nssh.sweep import run_scripts
from tests.lab.account import Account
from tests.lab.system import require
from tests.lab.tools import wait_until
from tests.sweep.shells import SHELLS, Ways, bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.real

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.2; done"


def test_they_have_their_seconds_unless_a_test_says_otherwise() -> None:
    assert run_scripts.end_script([]).stdin.count(b"\n%d\n" % end_servers.GRACE) == 1
    assert b"\n%d\n" % end_servers.GRACE not in run_scripts.end_script([], 1).stdin


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program whose file is called mosh-server: a shell that runs a script."""
    require("dash")
    program = tmp_path / "mosh-server"
    shutil.copy(require("dash")[0], program)
    tmp_path.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str = "echo ready; sleep 60", *, name: str = "mosh-server", user: str | None = None
              ) -> subprocess.Popen[bytes]:  # fmt: skip
        path = tmp_path / name
        if name != program.name:
            shutil.copy(program, path)
        started.append(
            subprocess.Popen([os.fspath(path), "-c", script], stdout=subprocess.PIPE, start_new_session=True, user=user)
        )
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == b"ready\n"
        return started[-1]

    yield start
    for one in started:
        with one:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)


@pytest.fixture(params=[(shell, by) for shell in SHELLS for by in ("proc", "ps")], ids=lambda p: f"{p[0]}-{p[1]}")
def ways(request: pytest.FixtureRequest) -> Ways:
    return Ways(*request.param)


@pytest.fixture
def dash() -> Ways:
    return Ways("dash", "proc")


def test_each_meets_its_fate(ways: Ways, start: Start) -> None:
    willing, stubborn, gone = start(), start(STUBBORN), start("echo ready")
    servers = [ways.server(willing), ways.server(stubborn)]
    gone.wait()
    begun = time.monotonic()
    fates = ways.end(
        (servers[0], EndMethod.TERM),
        (servers[1], EndMethod.TERM),
        (MoshServer(gone.pid, servers[0].start, 9.0), EndMethod.TERM),
    )
    assert fates == {willing.pid: Fate.ENDED, stubborn.pid: Fate.KILLED, gone.pid: Fate.GONE}
    assert willing.wait(5) == -signal.SIGTERM
    assert stubborn.wait(5) == -signal.SIGKILL
    assert list(fates).index(willing.pid) < list(fates).index(stubborn.pid), "told as it becomes known"
    assert time.monotonic() - begun >= 1.0, "it has its time to say goodbye"


@pytest.mark.parametrize("ignored", [False, True], ids=["sigpipe", "no-sigpipe"])
def test_when_nobody_listens_any_more_there_is_no_sigkill(ways: Ways, start: Start, *, ignored: bool) -> None:
    """The user has pressed Ctrl-C: those that were asked politely may end still."""
    willing, stubborn = start(), start(STUBBORN)
    script = run_scripts.end_script([(ways.server(one), EndMethod.TERM) for one in (willing, stubborn)], 1)
    with subprocess.Popen(
        bootstrap(ways.shell), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", restore_signals=not ignored
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(ways.told(script))
        running.stdin.close()
        told = b""
        while b"fate %d ended" % willing.pid not in told:
            told = running.stdout.readline()
            assert told
        running.stdout.close()
        running.wait(30)
    assert stubborn.poll() is None


def test_another_process_in_its_place_is_never_signalled(ways: Ways, start: Start) -> None:
    """PIDs come again: what has the PID now was started at another time, or is another program."""
    other, renamed = start(), start(name="vim")
    listed = ways.server(other)
    earlier = "Mon Nov 23 00:00:00 2020" if ways.by == "ps" else str(int(listed.start) - 1)
    fates = ways.end((listed._replace(start=earlier), EndMethod.TERM), (ways.server(renamed), EndMethod.TERM))
    assert fates == {other.pid: Fate.OTHER, renamed.pid: Fate.OTHER}
    assert other.poll() is None
    assert renamed.poll() is None


def test_a_pid_that_the_kernel_gave_away_again_is_never_signalled(tmp_path: Path) -> None:
    """Another mosh-server of the same user has it now: only its start tells them apart."""
    if os.geteuid() != 0 or not Path("/proc/sys/kernel/ns_last_pid").exists():
        pytest.skip("the next PID can't be chosen here")
    # Numbers of its own: elsewhere others would be given PIDs again that somebody is about to signal.
    space = [*require("unshare"), "--pid", "--fork", "--mount-proc"]
    program = shutil.copy(require("dash")[0], tmp_path / "mosh-server")
    done = subprocess.run(
        [*space, sys.executable, "-m", "tests.sweep.given_again", program],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "became another process: running, 1: became another process\n"


def test_only_a_name_is_not_enough(dash: Ways, tmp_path: Path) -> None:
    with subprocess.Popen(["mosh-server", "60"], executable="/bin/sleep") as pretender:
        try:
            assert dash.end((dash.server(pretender), EndMethod.TERM)) == {pretender.pid: Fate.OTHER}
            assert pretender.poll() is None
        finally:
            pretender.kill()


def test_its_place_taken_between_sigterm_and_sigkill(dash: Ways, start: Start) -> None:
    """It becomes another program after SIGTERM: no SIGKILL for that one."""
    changing = start("trap 'exec sleep 60' TERM; echo ready; while :; do sleep 0.05; done")
    assert dash.end((dash.server(changing), EndMethod.TERM)) == {changing.pid: Fate.ENDED}
    assert changing.poll() is None


def test_another_users_is_not_touched(ways: Ways, start: Start, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    account = Account(home, "sh")
    try:
        theirs = start()
        fates = ways.end((ways.server(theirs), EndMethod.TERM), user=account.name)
        assert fates == {theirs.pid: Fate.DENIED}
        assert theirs.poll() is None
    finally:
        account.remove()


def test_a_signal_that_is_not_permitted_is_told(dash: Ways, start: Start) -> None:
    server = start()
    fates = dash.end((dash.server(server), EndMethod.TERM), prelude="kill() { return 1; }")
    assert fates == {server.pid: Fate.DENIED}


def test_one_that_even_sigkill_does_not_end_is_left(dash: Ways, start: Start) -> None:
    server = start()
    fates = dash.end((dash.server(server), EndMethod.TERM), prelude="kill() { return 0; }")
    assert fates == {server.pid: Fate.LEFT}


def test_one_that_is_only_to_end_if_unused_is_asked_so(ways: Ways, start: Start) -> None:
    unused = start("trap 'exit 0' USR1; echo ready; while :; do sleep 0.05; done")
    used = start("trap : USR1; echo ready; while :; do sleep 0.05; done")
    fates = ways.end((ways.server(unused), EndMethod.UNUSED), (ways.server(used), EndMethod.UNUSED))
    assert fates == {unused.pid: Fate.ENDED, used.pid: Fate.IN_USE}
    assert used.poll() is None


def test_one_whose_client_is_back_is_not_ended(dash: Ways, start: Start) -> None:
    back, away = start(), start()
    who = f"who() {{ echo 'alice pts/0 Nov 24 00:45 (192.0.2.7 via mosh [{back.pid}])'; }}"
    fates = dash.end((dash.server(back), EndMethod.DETACHED), (dash.server(away), EndMethod.DETACHED), prelude=who)
    assert fates == {back.pid: Fate.IN_USE, away.pid: Fate.ENDED}
    assert back.poll() is None


def test_a_shell_that_sleeps_whole_seconds_only(dash: Ways, start: Start) -> None:
    prelude = 'sleep() { case $1 in *.*) return 1 ;; esac; command sleep "$1"; }'
    server = start("trap 'sleep 0.3; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    assert dash.end((dash.server(server), EndMethod.TERM), grace=3, prelude=prelude) == {server.pid: Fate.ENDED}


def test_fifty_at_once(dash: Ways, start: Start) -> None:
    servers = [start() for _ in range(50)]
    fates = dash.end(*((dash.server(one), EndMethod.TERM) for one in servers), grace=5)
    assert set(fates.values()) == {Fate.ENDED}
    wait_until(lambda: all(one.poll() is not None for one in servers), "all have ended")


@pytest.mark.parametrize(
    "line", ["", "fate", "fate 1", "fate x ended", "fate 1 cooked", "fate 9999999999 ended", "end 1"]
)
def test_other_lines_tell_no_fate(line: str) -> None:
    assert end_servers.read(line) is None


def test_a_newline_in_a_start_time_is_refused() -> None:
    """A hostile remote's words come back to it: as one line each, or not at all."""
    with pytest.raises(ValueError, match="newline"):
        run_scripts.end_script([(MoshServer(1, "a\nb", 1.0), EndMethod.TERM)])
