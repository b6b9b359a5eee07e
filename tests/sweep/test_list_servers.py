"""The list: read from answers of four userlands, and asked of this machine by three shells."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base import process
from nssh.base.errors import RemoteError
from nssh.mosh import list_servers
from nssh.mosh.mosh_servers import ClientState, Listing, MoshServer
from nssh.ssh import framing
from nssh.sweep import run_scripts
from tests.lab.system import require
from tests.sweep import recorded
from tests.sweep.shells import SHELLS, bootstrap

if TYPE_CHECKING:
    from pathlib import Path

    from nssh.ssh.framing import Answer

SCRIPT = framing.source(list_servers.__file__, "list_servers.sh")


def about(seconds: float) -> Any:
    return pytest.approx(seconds)


def by_pid(answer: Answer) -> dict[int, MoshServer]:
    return {server.pid: server for server in run_scripts.read_list(answer).servers}


@pytest.mark.parametrize("answer", [recorded.DEBIAN, recorded.BUSYBOX], ids=["debian", "busybox"])
def test_linux(answer: Answer) -> None:
    assert run_scripts.read_list(answer) == Listing(
        (
            MoshServer(12479, "312239", about(90.71), ClientState.ATTACHED, None, "192.0.2.7", about(90.71),
                   "tmux: client", (60001,), 0, "6214a721/312239"),
            # Its package was upgraded meanwhile.
            MoshServer(12487, "312257", about(90.53), ClientState.DETACHED, 67.0, "", 81.0, "sh",
                   (60002,), 5, "6214a721/312257"),
            # The one it has made for its shell waits for the first client, and is none.
            MoshServer(12495, "320275", about(10.35), ClientState.NEVER, None, "", None, "",
                   (60003,), 0, "6214a721/320275"),
        ),
        ("10.0.0.5", "10.8.0.2"),
        "192.0.2.7",
    )  # fmt: skip


def test_without_utmp_nobody_is_detached() -> None:
    states = {server.state for server in by_pid(recorded.WITHOUT_UTMP).values()}
    assert states == {ClientState.UNKNOWN, ClientState.NEVER}


def test_procps_by_its_columns() -> None:
    found = by_pid(recorded.PROCPS)
    assert found[12479] == MoshServer(
        12479, "Tue Nov 24 00:45:36 2026", 91.0, ClientState.ATTACHED, None, "192.0.2.7", None, "tmux: client",
        (60001,), 0, "1795481136.00",
    )  # fmt: skip
    assert (found[12487].state, found[12487].since, found[12487].ports) == (ClientState.DETACHED, 67.0, (60002,))


def test_freebsd() -> None:
    (server,) = run_scripts.read_list(recorded.FREEBSD).servers
    assert server._replace(start="") == MoshServer(
        812, "", 91.0, ClientState.DETACHED, 67.0, "", 91.0, "vim", (60001,), 0, "1795481136.00"
    )
    assert server.start == "Tue Nov 24 00:45:36 2026"


def test_macos_has_no_utmp_for_mosh() -> None:
    found = run_scripts.read_list(recorded.MACOS)
    assert found.addresses == ("fd00::5",)
    (server,) = found.servers
    assert (server.state, server.idle, server.runs, server.ports) == (ClientState.UNKNOWN, 91.0, "zsh", (60001,))


def edited(answer: Answer, old: str, new: str) -> Answer:
    text = "\n".join(answer.lines)
    assert old in text
    return recorded.answer(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        # Another program under the name, by prctl, or a script of that name.
        ("program 12479 /usr/bin/mosh-server", "program 12479 /usr/bin/dash", [12487, 12495]),
        ("program 12479 /usr/bin/mosh-server", "program 12479 /tmp/mosh-server2", [12487, 12495]),
        # Only its arguments say so.
        ("312239 mosh-server", "312239 sleep", [12487, 12495]),
        # What runs can't be told: the name must do.
        ("program 12479 /usr/bin/mosh-server", "program 12479 ", [12479, 12487, 12495]),
    ],
)
def test_only_what_runs_counts(old: str, new: str, left: list[int]) -> None:
    assert sorted(by_pid(edited(recorded.DEBIAN, old, new))) == left


def test_an_entry_of_another_terminal_is_a_dead_servers() -> None:
    """SIGKILL leaves entries in utmp, and PIDs come again."""
    stale = edited(recorded.DEBIAN, "pts/0        Nov 24 00:45 (192.0.2.7", "pts/9        Nov 24 00:45 (192.0.2.7")
    assert by_pid(stale)[12479].state is ClientState.UNKNOWN


def test_an_old_mosh_that_lets_its_shell_begin_at_once_is_known_by_its_entry() -> None:
    """It has not been silent for half a minute when its entry says detached: it was written at the start."""
    started = edited(recorded.DEBIAN, "process 12496 12495 12496 12496 pts/2 320275 mosh-server",
                     "process 12496 12495 12496 12496 pts/2 320275 sh")  # fmt: skip
    started = edited(started, "pts/2        Nov 24 00:47", "pts/2        Nov 24 00:46")
    assert by_pid(started)[12495].state is ClientState.NEVER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("now 1795481227", "now soon"),
        ("now 1795481227", "now 99999999999999999999"),
        ("tick 321310", "tick -1"),
        ("process 12479 1 12478 -1 - 312239", "process 12479 1 12478 -1 - x"),
        ("process 12479 1 12478", "process 12479 one 12478"),
        ("process 12479 1 12478", "process -1 1 12478"),
        ("process 12479 1 12478", "process 0 1 12478"),
        ("process 12479 1 12478", "process 99999999999999999999 1 12478"),
        ("process 12479 1 12478 -1 - 312239 mosh-server", "process 12479"),
        ("now 1795481227", "now 1795481227\nps 1 2 3 4 pts/0 Tue Nov 94 00:45:36 2026 mosh-server"),
        ("now 1795481227", "now 1795481227\nps 1 2 3"),
    ],
)
def test_nonsense_is_one_error(old: str, new: str) -> None:
    with pytest.raises(RemoteError, match="makes no sense"):
        run_scripts.read_list(edited(recorded.DEBIAN, old, new))


def test_more_than_anybody_can_have_is_one_error_at_once() -> None:
    """An answer may have a megabyte."""
    lines = "\n".join(f"process {pid} 1 {pid} -1 - 1 mosh-server" for pid in range(1000, 25000))
    with pytest.raises(RemoteError, match="tells of 24000 mosh-servers"):
        run_scripts.read_list(recorded.answer(f"now 1795481227\n{lines}"))


_KEYS = ["now", "tick", "hertz", "boot", "address", "process", "ps", "program", "limit", "socket", "udp", "port",
         "read", "who", "x"]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(_KEYS), st.text(max_size=60))), st.booleans())
def test_whatever_a_remote_answers_is_a_list_or_one_error(lines: list[tuple[str, str]], first: bool) -> None:  # noqa: FBT001
    text = "\n".join(f"{key} {value}" for key, value in lines)
    answer = recorded.answer(f"{'now 1795481227' if first else ''}\n{text}")
    try:
        servers = run_scripts.read_list(answer).servers
    except RemoteError:
        return
    assert all(server.age >= 0 for server in servers)


@given(st.data())
def test_a_recorded_answer_with_words_changed_is_a_list_or_one_error(data: st.DataObject) -> None:
    lines = list(data.draw(st.sampled_from([recorded.DEBIAN, recorded.PROCPS, recorded.FREEBSD])).lines)
    at = data.draw(st.integers(0, len(lines) - 1))
    words = lines[at].split(" ")
    words[data.draw(st.integers(0, len(words) - 1))] = data.draw(
        st.sampled_from(["", "-1", "0", "999999999", "1e9", "é", "pts/1", "\x1b[2J", "mosh-server"])
    )
    lines[at] = " ".join(words)
    try:
        run_scripts.read_list(recorded.answer("\n".join(lines)))
    except RemoteError:
        return


# The script itself.


@pytest.mark.real
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("by", ["proc", "ps"])
def test_the_script_finds_what_runs_here(shell: str, by: str, tmp_path: Path) -> None:
    """A program under the name of mosh-server, listed by PID: there may be real ones of others' tests."""
    require(shell.split(maxsplit=1)[0], *(["ps"] if by == "ps" else []))
    program = tmp_path / "mosh-server"
    program.symlink_to("/bin/sleep")
    copy = tmp_path / "real" / "mosh-server"
    copy.parent.mkdir()
    shutil.copy("/bin/sleep", copy)
    pretender = subprocess.Popen(["mosh-server", "60"], executable="/bin/sleep")
    linked = subprocess.Popen([os.fspath(program), "60"])
    with subprocess.Popen([os.fspath(copy), "60"], env={"MOSH_SERVER_SIGNAL_TMOUT": "7"}) as real:
        try:
            text = SCRIPT if by == "proc" else SCRIPT.replace("/proc/self/stat", "/nowhere")
            script = framing.pack(text)
            done = subprocess.run(bootstrap(shell), input=script.stdin, capture_output=True, check=True, timeout=30)
            found = by_pid(framing.unpack(script, done.stdout))
            assert pretender.pid not in found
            server = found[real.pid]
            assert server.age < 60
            if by == "proc":
                # Its name is that of the link, but the file that runs is another one.
                assert linked.pid not in found
                assert server.birth == process.birth(real.pid)
                assert server.signal_timeout == 7
        finally:
            for one in (real, linked, pretender):
                one.kill()
            linked.wait()
            pretender.wait()


@pytest.mark.real
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("told", recorded.INTERFACES)
def test_the_script_tells_the_addresses_of_its_host(shell: str, told: str) -> None:
    require(shell.split(maxsplit=1)[0])
    by, other = ("ip", "ifconfig") if told == "ip" else ("ifconfig", "ip")
    fakes = f"{by}() {{ cat <<'END'\n{recorded.INTERFACES[told]}END\n}}\n{other}() {{ return 1; }}\n"
    script = framing.pack(fakes + SCRIPT)
    environ = {**os.environ, "SSH_CONNECTION": "198.51.100.9 4711 10.0.0.5 22"}
    done = subprocess.run(
        bootstrap(shell), input=script.stdin, capture_output=True, check=True, timeout=30, env=environ
    )
    found = run_scripts.read_list(framing.unpack(script, done.stdout))
    assert sorted(found.addresses) == ["10.0.0.5", "192.0.2.2", "fd00::2"]
    assert found.seen_from == "198.51.100.9"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount of its own")
def test_a_container_may_have_an_uptime_of_its_own(tmp_path: Path) -> None:
    """As LXC's have; the start times of processes count from the boot of the host nevertheless."""
    program, uptime = tmp_path / "mosh-server", tmp_path / "uptime"
    shutil.copy("/bin/sleep", program)
    uptime.write_text("1.00 1.00\n")
    inside = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /proc/uptime && exec "$@"', os.fspath(uptime)]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    script = run_scripts.list_script()
    with subprocess.Popen([os.fspath(program), "60"]) as server:
        try:
            command = [*inside, *bootstrap("sh")]
            done = subprocess.run(command, input=script.stdin, capture_output=True, check=True, timeout=30)
            assert 0 < by_pid(framing.unpack(script, done.stdout))[server.pid].age < 60
        finally:
            server.kill()
