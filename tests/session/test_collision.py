"""A second nssh to the same target, in scripts: join, replace, new, and what happens without any of them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from nssh.base import process
from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.session.support import ANY_PROMPT, forget, gate, hold

if TYPE_CHECKING:
    from pathlib import Path

    from nssh.state.session_records import Record
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


def unique(tag: str) -> str:
    """Return a URL that no other test opens."""
    return f"http://example.com/{tag}?{random.randrange(10**9)}"  # noqa: S311 - no secret


def record_of(laptop: Laptop, shell: RemoteShell) -> Record:
    """Wait until a session has a role, and return its record."""
    wait_until(lambda: any(one.pid == shell.pid and one.role for one in laptop.sessions()), "it has a role")
    return next(one for one in laptop.sessions() if one.pid == shell.pid)


def bridge_of(shell: RemoteShell) -> psutil.Process:
    """Return the bridge process of a session."""
    children = psutil.Process(shell.pid).children()
    return next(child for child in children if "actors" in child.cmdline())


def started(laptop: Laptop, shell: RemoteShell) -> dict[str, Any]:
    """Wait for a session's first event, and return it."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        record = record_of(laptop, shell)
        found[:] = [
            event for event in laptop.events() if event["event"] == "session-start" and event["pid"] == record.bridge
        ]
        return bool(found)

    wait_until(look, "its start is logged")
    return found[0]


def forget_logs(laptop: Laptop) -> None:
    """Remove the event logs of tests before."""
    for path in (laptop.state / "logs").glob("*.jsonl*"):
        path.unlink()


def words(shell: RemoteShell) -> str:
    """End a session, and return what nssh said on its standard error."""
    assert shell.process.stdin is not None
    assert shell.process.stderr is not None
    shell.process.stdin.close()
    said = shell.process.stderr.read().decode()
    shell.process.wait(30)
    return said


def opens_once(laptop: Laptop, shell: RemoteShell, tag: str) -> None:
    url = unique(tag)
    assert shell.run(f"xdg-open '{url}'") == (0, b"")
    laptop.wait_opened(url)
    assert laptop.opened().count(url) == 1


@pytest.mark.parametrize("flags", [[], ["--join"]])
def test_join_shares_the_topic_prepares_nothing_and_stands_by(laptop: Laptop, remote: Sshd, flags: list[str]) -> None:
    session = remote.state / "nssh/session"
    forget_logs(laptop)
    with RemoteShell(laptop) as first:
        laptop.wait_up()
        before = session.stat().st_ino
        with RemoteShell(laptop, *flags) as second:
            one, two = record_of(laptop, first), record_of(laptop, second)
            assert (one.role, two.role) == ("leader", "standby")
            assert (one.topic, one.serial, one.key) == (two.topic, two.serial, two.key)
            assert started(laptop, second)["joined"] == first.pid
            opens_once(laptop, second, "joined")
            wait_until(lambda: record_of(laptop, second).version, "it knows the remote's nssh")
            assert session.stat().st_ino == before, "prepared once"
            assert words(second) == f"nssh: joining the session to devbox (PID {first.pid})\n"
        opens_once(laptop, first, "still")


def test_a_stand_by_takes_over_within_a_second_and_goes_on_where_the_other_was(laptop: Laptop) -> None:
    urls = [unique(f"over-{number}") for number in range(6)]
    with RemoteShell(laptop) as first:
        laptop.wait_up()
        with RemoteShell(laptop, "--join") as second:
            assert record_of(laptop, second).role == "standby"
            for url in urls[:3]:
                assert second.run(f"xdg-open '{url}'") == (0, b"")
            laptop.wait_opened(urls[2])
            members = psutil.Process(first.pid).children()
            first.process.kill()
            for member in members:
                member.kill()  # the lease is free from here on
            for url in urls[3:]:
                assert second.run(f"xdg-open '{url}'")[0] == 0
            laptop.wait_opened(urls[-1])
            assert record_of(laptop, second).role == "leader"
            assert [url for url in laptop.opened() if url in urls] == urls
    laptop.wait_gone(30.0)  # the killed session's connection ends by itself


def test_replace_ends_the_whole_other_session_and_loses_nothing(laptop: Laptop) -> None:
    forget_logs(laptop)
    first = RemoteShell(laptop)
    [one] = laptop.wait_up()
    members = [psutil.Process(first.pid), *psutil.Process(first.pid).children()]
    url = unique("before")
    assert first.run(f"xdg-open '{url}'") == (0, b"")
    with RemoteShell(laptop, "--replace") as second:
        assert first.process.wait(10) == 255, "as ssh itself after SIGTERM"
        assert first.process.stderr is not None
        said = first.process.stderr.read().decode()
        assert said.endswith(f"nssh: devbox: replaced by the nssh of pid {second.pid}\n")
        assert not psutil.wait_procs(members, 1)[1]
        laptop.wait_up()
        [two] = laptop.sessions()
        assert two.pid == second.pid
        assert two.topic != one.topic
        wait_until(lambda: record_of(laptop, second).role == "leader", "it leads")
        laptop.wait_opened(url)
        opens_once(laptop, second, "after")
        assert started(laptop, second)["replaced"] == [one.pid]
    first.close()
    assert laptop.opened().count(url) == 1


@pytest.mark.parametrize("victim", ["launcher", "bridge", "both"])
def test_replace_ends_one_that_is_wedged_by_force(relay_laptop: Laptop, victim: str) -> None:
    first = RemoteShell(relay_laptop)
    relay_laptop.wait_up()
    bridge = bridge_of(first)
    stopped = {"launcher": [first.pid], "bridge": [bridge.pid], "both": [first.pid, bridge.pid]}[victim]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(process.is_stopped(pid) for pid in stopped), "they are stopped")
    said = RemoteShell(relay_laptop)
    assert "does not answer" in words(said)
    with RemoteShell(relay_laptop, "--replace") as second:
        first.process.wait(10)
        assert not bridge.is_running() or bridge.status() == psutil.STATUS_ZOMBIE
        relay_laptop.wait_up()
        opens_once(relay_laptop, second, f"forced-{victim}")
    first.close()


def test_a_script_is_not_kept_waiting_for_a_wedged_session_and_hears_of_it_at_its_end(
    relay_laptop: Laptop, continued: list[int]
) -> None:
    """What the remote prints is there before what nssh has to say: nothing waits for an answer that does not come."""
    with RemoteShell(relay_laptop) as first:
        [record] = relay_laptop.wait_up()
        hold(record.bridge, continued)
        done = subprocess.run(
            [*NSSH, "devbox", "echo from there; exit 3"], env=relay_laptop.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 3
        [told, said, warned] = done.stdout.decode().splitlines()
        assert told == f"nssh: joining the session to devbox (PID {first.pid})"
        assert said == "from there"
        warning = f"nssh: the session of pid {first.pid}, which acts for devbox, does not answer; --replace ends it"
        assert warned == warning
        os.kill(record.bridge, signal.SIGCONT)


def test_what_is_left_of_a_killed_session_is_ended_by_whoever_looks_next(relay_laptop: Laptop) -> None:
    """Its ssh was nobody's any more, and its master might go on reading the user's terminal for ever."""
    killed = RemoteShell(relay_laptop)
    [record] = relay_laptop.wait_up()
    for pid in (record.bridge, record.pid):
        os.kill(pid, signal.SIGKILL)
    killed.process.wait(10)
    wait_until(lambda: not process.birth(record.bridge), "both are gone")
    assert relay_laptop.processes(), "ssh is still there"
    assert relay_laptop.run("status").returncode == 0
    relay_laptop.wait_gone()
    assert not (relay_laptop.client.home / f"run/nssh/c{record.pid}").exists()
    killed.close()


def test_new_has_a_topic_of_its_own_and_leaves_the_other_running(laptop: Laptop) -> None:
    with RemoteShell(laptop) as first:
        laptop.wait_up()
        with RemoteShell(laptop, "--new") as second:
            laptop.wait_up(2)
            one, two = record_of(laptop, first), record_of(laptop, second)
            assert one.topic != two.topic
            assert (one.role, two.role) == ("leader", "leader")
            opens_once(laptop, second, "new")
            opens_once(laptop, first, "also-from-there")
            # Both are live: a third joins the one that the remote speaks to.
            with RemoteShell(laptop) as third:
                assert record_of(laptop, third).topic == two.topic
        # Only the first is left, on the topic that was its own all the time: who joins it takes the remote back to it.
        with RemoteShell(laptop, "--join") as fourth:
            assert record_of(laptop, fourth).topic == one.topic
            wait_until(lambda: record_of(laptop, fourth).version, "the remote was made ready")
            opens_once(laptop, fourth, "back")


def test_a_bridge_that_comes_back_does_not_take_the_remote_from_a_newer_session(
    relay_laptop: Laptop, remote: Sshd
) -> None:
    session = remote.state / "nssh/session"
    with RemoteShell(relay_laptop) as first:
        relay_laptop.wait_up()
        with RemoteShell(relay_laptop, "--new") as second:
            relay_laptop.wait_up(2)
            two = record_of(relay_laptop, second)
            wait_until(lambda: two.topic in session.read_text(), "the remote sends to the new one")
            before = bridge_of(first).pid
            os.kill(before, signal.SIGKILL)

            def is_back() -> bool:
                one = record_of(relay_laptop, first)
                return one.bridge != before and one.bus == "up" and bool(one.version)

            wait_until(is_back, "the first one's bridge is back")
            assert two.topic in session.read_text()
            opens_once(relay_laptop, first, "to-the-newer-one")


@pytest.mark.parametrize("mode", ["--mosh", "--ssh"])
def test_one_that_is_still_at_its_login_does_not_take_the_remote_from_a_newer_session(
    laptop: Laptop, remote: Sshd, tmp_path: Path, mode: str
) -> None:
    """The login that writes the session file may wait for a password while another terminal gets there first."""
    session = remote.state / "nssh/session"
    forget(laptop)
    ssh = laptop.env["NSSH_SSH"]
    opened = gate(laptop, tmp_path)
    with Terminal([*NSSH, mode, "devbox"], laptop.env) as slow:
        slow.wait_until(laptop.sessions, "it has its topic")
        [one] = laptop.sessions()
        laptop.env["NSSH_SSH"] = ssh
        with RemoteShell(laptop, "--new") as newer:
            two = record_of(laptop, newer)
            wait_until(lambda: two.topic in session.read_text(), "the remote sends to the new one")
            before = session.stat().st_mtime_ns
            opened.touch()
            slow.wait_until(lambda: session.stat().st_mtime_ns != before, "its login has written, too")
            slow.wait_until(lambda: two.topic in session.read_text(), "the newer one's file is back")
            assert one.topic != two.topic
            opens_once(laptop, newer, "to-the-newer-one")
            slow.expect(ANY_PROMPT)
            slow.send(b"exit\r")
            assert slow.wait() == 0


def test_flags_without_another_session_just_start(relay_laptop: Laptop) -> None:
    topics = []
    for flag in ("--join", "--replace", "--new", "--join"):
        with RemoteShell(relay_laptop, flag) as shell:
            [record] = relay_laptop.wait_up()
            topics.append(record.topic)
            opens_once(relay_laptop, shell, "alone")
            assert words(shell) == ""
        relay_laptop.wait_gone()
    assert len(set(topics)) == 3
    assert topics[2] == topics[3]


def test_a_pinned_topic_can_not_be_new(relay_laptop: Laptop) -> None:
    relay_laptop.config.write_text('topic = "nssh_pinned"\n' + relay_laptop.config.read_text())
    done = relay_laptop.run("--new", "devbox", "true")
    assert done.returncode == 2
    assert "pins" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with RemoteShell(relay_laptop) as first:
        [record] = relay_laptop.wait_up()
        assert record.topic == "nssh_pinned"
        with RemoteShell(relay_laptop) as second:
            assert record_of(relay_laptop, second).role == "standby"
            opens_once(relay_laptop, first, "pinned")


def test_others_are_not_taken_for_the_same(relay_laptop: Laptop, remote: Sshd) -> None:
    """Another name of the same target is the same; other options that lead elsewhere are not."""
    with RemoteShell(relay_laptop) as first:
        [record] = relay_laptop.wait_up()
        remote.client.host("otherbox", *remote.client.options("devbox"))
        with RemoteShell(relay_laptop, host="otherbox") as second:
            assert started(relay_laptop, second)["joined"] == first.pid
        for option in ("User=ROOT", "HostName=127.0.0.2", "HostKeyAlias=other", "Port=1"):
            forget_logs(relay_laptop)
            relay_laptop.run("-o", option, "devbox", "true")
            starts = [event for event in relay_laptop.events() if event["event"] == "session-start"]
            # One that fails at once may have no bridge yet that could write it.
            assert not [start for start in starts if start.get("joined")], option
        wait_until(lambda: [one.pid for one in relay_laptop.sessions()] == [first.pid], "the others are gone")
        assert record.key


@pytest.mark.parametrize("laptop", ["ntfy"], indirect=True)
def test_a_go_session_is_not_matched_by_half_a_name_and_is_stood_by_for(laptop: Laptop) -> None:
    """Its record tells the host up to the first dot; a sleeping process takes its place."""
    directory = laptop.state / "sessions"
    directory.mkdir(parents=True, exist_ok=True)
    url = laptop.config.read_text().partition('server = "')[2].partition('"')[0] or "relay"
    with subprocess.Popen(["sleep", "1000"]) as go:
        for target, joins in (("elsewhere.example.com", False), ("devbox", True)):
            host = "127" if target == "devbox" else "elsewhere"
            (directory / f"{go.pid}.json").write_text(
                json.dumps({"pid": go.pid, "target": target, "host": host, "topic": "nssh_gotopic", "server": url,
                            "started": "2036-01-01T00:00:00.123456789Z", "log": ""})
            )  # fmt: skip
            with RemoteShell(laptop) as shell:
                record = record_of(laptop, shell)
                assert (record.topic == "nssh_gotopic") == joins, record
                assert record.role == ("standby" if joins else "leader")
                if joins:
                    go.kill()
                    go.wait()
                    wait_until(lambda: record_of(laptop, shell).role == "leader", "it takes over")
            laptop.wait_gone()


def test_a_record_under_our_own_pid_and_rubbish_disturb_nobody(relay_laptop: Laptop) -> None:
    directory = relay_laptop.state / "sessions"
    directory.mkdir(parents=True, exist_ok=True)
    forget_logs(relay_laptop)
    (directory / f"{os.getpid()}.json").write_bytes(b"\x00garbage")
    (directory / f"{2**22 + 7}.json").write_bytes(b"")
    with RemoteShell(relay_laptop) as shell:
        relay_laptop.wait_up()
        opens_once(relay_laptop, shell, "rubbish")

        def ignored() -> list[dict[str, Any]]:
            return [event for event in relay_laptop.events() if event["event"] == "record-ignored"]

        wait_until(ignored, "it is told")
        assert [(event["file"], event["err"]) for event in ignored()] == [(f"{os.getpid()}.json", "not a record")]
    (directory / f"{os.getpid()}.json").unlink()


FLAGS = {"new": ["--new"], "join": ["--join"], "replace": ["--replace"], "none": []}


@pytest.mark.parametrize("kind", [*FLAGS, "mixed"])
def test_twenty_at_once_end_in_what_the_flags_promise(relay_laptop: Laptop, kind: str) -> None:
    chosen = random.Random(kind)  # noqa: S311 - no secret
    kinds = [kind if kind != "mixed" else chosen.choice(list(FLAGS)) for _ in range(20)]
    shells = [
        subprocess.Popen(
            [*NSSH, *FLAGS[one], "devbox", "exec cat"], env=relay_laptop.env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for one in kinds
    ]  # fmt: skip
    try:
        wait_until(lambda: settled(relay_laptop, shells), f"they have settled: {relay_laptop.sessions()}", 100)
        alive = [shell for shell in shells if shell.poll() is None]
        by_topic: dict[str, list[str]] = {}
        for record in relay_laptop.sessions():
            by_topic.setdefault(record.topic, []).append(record.role)
        for topic, roles in by_topic.items():
            assert roles.count("leader") == 1, (topic, roles)
        expected = {"new": (20, 20), "join": (20, 1), "none": (20, 1), "replace": (1, 1)}
        if kind in expected:
            assert (len(alive), len(by_topic)) == expected[kind]
    finally:
        said = [shell.communicate(b"", 60)[1] for shell in shells]
        print(*zip(kinds, [shell.returncode for shell in shells], said, strict=True), sep="\n")
    # One that is replaced before it has anything to end just dies of the signal.
    assert {shell.returncode for shell in shells} <= {0, 255, 128 + signal.SIGTERM, -signal.SIGTERM}


def settled(laptop: Laptop, shells: list[subprocess.Popen[bytes]]) -> bool:
    """Whether every start has decided: each that lives has a record with a role, and each topic a leader."""
    alive = {shell.pid for shell in shells if shell.poll() is None}
    found = [record for record in laptop.sessions() if record.live]
    leaders = [record.topic for record in found if record.role == "leader"]
    return (
        bool(alive)
        and alive == {record.pid for record in found}
        and all(record.role for record in found)
        and sorted(leaders) == sorted({record.topic for record in found})
    )


def test_records_are_gone_when_a_session_never_came_to_be(relay_laptop: Laptop) -> None:
    done = relay_laptop.run("-o", "Port=1", "devbox", "true")
    assert done.returncode == 255
    relay_laptop.wait_gone()
    assert relay_laptop.sessions() == []
