"""Real mosh-servers in every state, behind a real sshd, as `nssh sweep` lists and ends them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest

from nssh.mosh.end_servers import EndMethod, Fate
from nssh.ssh.identity import resolve
from nssh.sweep.child import SweepChild
from nssh.sweep.child_messages import End, Failed, Finished, Job, Judged, Listed
from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd
from tests.lab.system import require
from tests.lab.tools import wait_until
from tests.sweep.support import (
    Started,
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

pytestmark = pytest.mark.real


class Population(NamedTuple):
    """Who lives on the remote."""

    attached: Started
    window: Window
    detached: Started
    polite: Started
    """Detached, and started with MOSH_SERVER_SIGNAL_TMOUT."""
    roaming: Started
    """The same, and attached."""
    roaming_window: Window
    stopped: Started
    """Detached, and deaf to SIGTERM."""
    theirs: Started
    """Another user's."""
    pretender: int
    """Calls itself mosh-server, by its argv[0]."""


@pytest.fixture(scope="module")
def theirs() -> Iterator[Sshd]:
    """A second account."""
    with Sshd(account=True) as sshd:
        yield sshd


@pytest.fixture(scope="module")
def people(remote: Sshd, theirs: Sshd) -> Iterator[Population]:
    require_utmp()
    laptop = Laptop(remote.client)
    ssh = [*remote.client.ssh, "devbox"]
    pretend = "exec -a mosh-server sleep 300 >/dev/null 2>&1 </dev/null & echo $!"
    told = subprocess.run([*ssh, f"bash -c '{pretend}'"], env=laptop.env, capture_output=True, check=True)
    attached, detached, stopped = (start_server(remote, laptop) for _ in range(3))
    polite, roaming = (start_server(remote, laptop, "MOSH_SERVER_SIGNAL_TMOUT=5") for _ in range(2))
    other = start_server(theirs, Laptop(theirs.client))
    windows = {one.pid: Window(laptop, one) for one in (attached, detached, polite, roaming, stopped, other)}
    for one in (detached, polite, stopped, other):
        windows[one.pid].close()
    wait_detached(detached, polite, stopped, other)
    stopped.process.suspend()
    try:
        yield Population(
            attached, windows[attached.pid], detached, polite, roaming, windows[roaming.pid], stopped, other,
            int(told.stdout),
        )  # fmt: skip
    finally:
        for window in windows.values():
            window.close()


def test_all_of_them(remote: Sshd, laptop: Laptop, people: Population) -> None:
    """In one test, because their states take half a minute to come about; each step says what it is about."""
    young = start_server(remote, laptop)
    people.window.terminal.send(b"sleep 1000\r")
    wait_until(lambda: people.attached.process.children(recursive=True)[-1].name() == "sleep", "it runs")

    # The list.
    found = {one["pid"]: one for one in listed(laptop, "--include-mine", "devbox")}
    assert people.theirs.pid not in found, "another user's"
    assert people.pretender not in found, "only its name says so"
    states = {pid: one["state"] for pid, one in found.items()}
    assert states == {
        people.attached.pid: "attached",
        people.roaming.pid: "attached",
        people.detached.pid: "detached",
        people.polite.pid: "detached",
        people.stopped.pid: "detached",
        young.pid: "never connected",
    }
    ages = [one["age"] for one in found.values()]
    assert ages == sorted(ages, reverse=True), "oldest first"
    seen = found[people.attached.pid]
    assert (seen["client"], seen["runs"], seen["detached_for"]) == ("127.0.0.1", "sleep", None)
    assert 0 <= seen["idle"] <= seen["age"] + 10
    lost = found[people.detached.pid]
    assert (lost["client"], lost["runs"]) == (None, "sh")
    assert 0 <= lost["detached_for"] <= lost["age"] < 600
    assert found[young.pid]["spared"] == "too young"

    # This machine's own mosh-clients: their servers are spared.
    mine = {one["pid"]: one["spared"] for one in listed(laptop, "--min-age", "0", "devbox")}
    assert mine[people.attached.pid] == mine[people.roaming.pid] == "a session of yours here"
    assert [mine[one.pid] for one in (people.detached, people.polite, people.stopped, young)] == [None] * 4
    text = sweep(laptop, "--dry-run", "--detached", "--min-age", "0", "devbox")
    lines = {int(line.split()[1]): line for line in text.splitlines()[1:]}
    assert lines[people.detached.pid].endswith("to be ended")
    assert lines[people.attached.pid].endswith("spared: a session of yours here")

    # --older: none is.
    assert all(one["fate"] is None for one in listed(laptop, "--older", "1h", "devbox"))

    # --detached: SIGUSR1 where it was started for that, SIGKILL for the deaf one.
    fates = {one["pid"]: one["fate"] for one in listed(laptop, "--detached", "--min-age", "0", "devbox")}
    assert fates[people.detached.pid] == fates[people.polite.pid] == "ended"
    assert fates[people.stopped.pid] == "killed"
    assert {fates[one.pid] for one in (people.attached, people.roaming, young)} == {None}
    wait_ended(people.detached, people.polite, people.stopped)

    # --all, with what was spared.
    text = sweep(laptop, "--all", "devbox")
    assert text.count("spared: a session of yours here") == 2
    assert text.count("spared: too young") == 1
    assert people.attached.runs
    assert people.roaming.runs
    fates = {one["pid"]: one["fate"] for one in listed(laptop, "--all", "--include-mine", "--min-age", "0", "devbox")}
    assert fates == dict.fromkeys((people.attached.pid, people.roaming.pid, young.pid), "ended")
    people.window.terminal.expect(b"[mosh is exiting.]")
    wait_ended(people.attached, people.roaming, young)

    # Who was no server of ours at any time.
    assert psutil.Process(people.pretender).cmdline()[0] == "mosh-server"
    assert people.theirs.runs


class Talk:
    """The child of a sweep, spoken to as the foreground does: between the list and the end something may happen."""

    def __init__(self, child: SweepChild, laptop: Laptop) -> None:
        self._child = child
        target = resolve(laptop.client.ssh, "devbox")
        child.tell(Job((target,), 20.0, child.log, 86400.0))
        (news,) = self._until(Listed)
        assert isinstance(news, Listed)
        self.servers = {server.pid: server for server in news.listing.servers}

    def _until(self, kind: type) -> list[Any]:
        heard: list[Any] = []
        while not (heard and isinstance(heard[-1], kind)):
            news = self._child.news(60.0)
            assert news, heard
            heard += news
            assert not any(isinstance(one, Failed) for one in news), news
        return heard

    def end(self, *chosen: tuple[Any, EndMethod]) -> dict[int, Fate]:
        self._child.tell(End(0, chosen))
        return {news.verdict.pid: news.verdict.fate for news in self._until(Finished) if isinstance(news, Judged)}


@pytest.fixture
def child(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> Iterator[SweepChild]:
    for name, value in laptop.env.items():
        monkeypatch.setenv(name, value)
    with SweepChild() as child:
        yield child


def test_what_comes_in_between(remote: Sshd, theirs: Sshd, laptop: Laptop, child: SweepChild) -> None:
    ends, stays, asked = (start_server(remote, laptop) for _ in range(3))
    other = start_server(theirs, Laptop(theirs.client))
    talk = Talk(child, laptop)
    assert talk.servers.keys() >= {ends.pid, stays.pid, asked.pid}
    assert other.pid not in talk.servers
    ends.process.terminate()
    wait_ended(ends)
    # The PID is another process's now: its start time is not the one that was listed.
    taken = talk.servers[stays.pid]._replace(start=str(int(talk.servers[stays.pid].start) - 1))
    born = str(_ticks(other.pid))
    foreign = talk.servers[asked.pid]._replace(pid=other.pid, start=born)
    fates = talk.end(
        (talk.servers[ends.pid], EndMethod.TERM),
        (taken, EndMethod.TERM),
        (foreign, EndMethod.TERM),
        (talk.servers[asked.pid], EndMethod.TERM),
    )
    assert fates == {ends.pid: Fate.GONE, stays.pid: Fate.OTHER, other.pid: Fate.DENIED, asked.pid: Fate.ENDED}
    assert stays.runs
    assert other.runs


def _ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def test_one_that_is_in_use_is_not_ended_by_the_polite_signal(remote: Sshd, laptop: Laptop, child: SweepChild) -> None:
    """The list may be minutes old when the user has chosen: the server itself knows better."""
    server = start_server(remote, laptop, "MOSH_SERVER_SIGNAL_TMOUT=60")
    window = Window(laptop, server)
    try:
        talk = Talk(child, laptop)
        assert talk.servers[server.pid].signal_timeout == 60
        assert talk.end((talk.servers[server.pid], EndMethod.UNUSED)) == {server.pid: Fate.IN_USE}
        assert server.runs
    finally:
        window.close()


def test_one_whose_client_is_back_is_not_ended(remote: Sshd, laptop: Laptop, child: SweepChild) -> None:
    require_utmp()
    server = start_server(remote, laptop)
    window = Window(laptop, server)
    try:
        talk = Talk(child, laptop)
        assert talk.end((talk.servers[server.pid], EndMethod.DETACHED)) == {server.pid: Fate.IN_USE}
        assert server.runs
    finally:
        window.close()


def test_tmux_survives_and_can_be_attached_again(remote: Sshd, laptop: Laptop) -> None:
    require("tmux")
    server = start_server(remote, laptop)
    window = Window(laptop, server)
    try:
        tmux = f"TMUX_TMPDIR={remote.home} tmux"
        window.terminal.send(f"{tmux} new -s kept\r".encode())
        window.terminal.expect(b"[kept]")
        window.terminal.send(b"echo still 'he''re'\r")
        window.terminal.expect(b"still here")
        (one,) = [
            one for one in listed(laptop, "--include-mine", "--min-age", "0", "devbox") if one["pid"] == server.pid
        ]
        assert one["runs"].startswith("tmux")
        sweep(laptop, "--all", "--include-mine", "--min-age", "0", "devbox")
        wait_ended(server)
        command = [*remote.client.ssh, "devbox", f"{tmux} capture-pane -p -t kept"]
        shown = subprocess.run(command, env=laptop.env, capture_output=True, text=True, check=True).stdout
        assert "still here" in shown
        again = start_server(remote, laptop, command=f"env TMUX_TMPDIR={remote.home} tmux attach -t kept")
        Window(laptop, again, b"still here").close()
    finally:
        window.close()
