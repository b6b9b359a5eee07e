"""A session of ours and one of the Go program for the same host on the same laptop: who acts, and what is repeated."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.go.laptop import VERSION
from tests.go.support import GoDesk, GoSession, OwnDesk, opens, record_of, wait_acting
from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.session.support import ANY_PROMPT, hold

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.ntfy import NtfyServer
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


# --- Ours comes second ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [[], ["--join"]])
def test_joining_ours_stands_by_and_go_acts(
    laptop: Laptop, remote: Sshd, go: GoSession, own_desk: OwnDesk, flags: list[str]
) -> None:
    with RemoteShell(laptop, *flags) as ours:
        record = record_of(laptop, ours.pid)
        assert (record.role, record.topic) == ("standby", go.record.topic)
        urls = [opens(ours, "from-ours"), opens(go, "from-go")]
        wait_until(lambda: sorted(go.desk.opened()) == sorted(urls), "Go opens both")
        go.desk.copy(b"go's")
        own_desk.copy(b"ours")
        assert ours.run("xclip -selection clipboard -o") == (0, b"go's")
        assert own_desk.opened() == []
    assert go.process.poll() is None


def test_a_stand_by_promises_nothing_for_go(
    laptop: Laptop, remote: Sshd, go: GoSession, own_desk: OwnDesk, tmp_path: Path
) -> None:
    """Our shims ask a session of ours more than the Go program could answer."""
    image = b"\x89PNG\r\n\x1a\n" + os.urandom(5000)
    with RemoteShell(laptop) as ours:
        wait_until(lambda: record_of(laptop, ours.pid).version, "the remote is ready")
        assert "features" not in (remote.state / "nssh/session").read_text()
        go.desk.copy(image, "image/png")
        status, listed = ours.run("xclip -selection clipboard -t TARGETS -o")
        assert status == 0
        assert b"image/png" in listed.split()
        assert ours.run(f"wl-paste -t image/png > {tmp_path}/pasted") == (0, b"")
        assert (tmp_path / "pasted").read_bytes() == image
        go.close()
        wait_acting(laptop, ours)
        wait_until(lambda: "features" in (remote.state / "nssh/session").read_text(), "it promises what it can")
        own_desk.copy(b"text")
        status, listed = ours.run("xclip -selection clipboard -t TARGETS -o")
        assert status == 0
        assert b"image/png" not in listed.split()


def test_new_has_a_topic_of_its_own_and_leaves_go_alone(laptop: Laptop, go: GoSession, own_desk: OwnDesk) -> None:
    with RemoteShell(laptop, "--new") as ours:
        wait_acting(laptop, ours)
        assert record_of(laptop, ours.pid).topic != go.record.topic
        urls = [opens(ours, "from-ours"), opens(go, "from-go-s-shell")]
        wait_until(lambda: sorted(own_desk.opened()) == sorted(urls), "ours opens both")
        assert go.desk.opened() == []
    assert go.process.poll() is None


def test_a_suspended_go_session_is_told_of_and_replaced_by_force(
    laptop: Laptop, go: GoSession, own_desk: OwnDesk, continued: list[int]
) -> None:
    hold(go.pid, continued)
    with RemoteShell(laptop) as joined:
        assert record_of(laptop, joined.pid).role == "standby"
        assert joined.process.stdin is not None
        assert joined.process.stderr is not None
        joined.process.stdin.close()
        said = joined.process.stderr.read().decode()
        assert f"the session of pid {go.pid}, which acts for devbox, does not answer" in said
    with RemoteShell(laptop, "--replace") as ours:
        assert go.process.wait(10) in {255, -signal.SIGKILL}
        wait_acting(laptop, ours)
        url = opens(ours, "forced")
        wait_until(lambda: own_desk.opened() == [url], "it is open")


# --- The question -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"j", b"r", b"n", b"c", b"\r"])
def test_the_question_knows_go_s_session(laptop: Laptop, go: GoSession, own_desk: OwnDesk, key: bytes) -> None:
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env, columns=140) as window:
        window.expect(b"devbox is connected already")
        window.expect(f"pid {go.pid}, devbox, the Go program's on ".encode())
        window.expect(b"answers in ")
        window.expect(b"Cancel")
        window.send(key)
        if key == b"c":
            assert window.wait() == 130
            return
        window.expect(ANY_PROMPT)
        record = record_of(laptop, window.pid)
        joined = key in b"j\r"
        assert record.role == ("standby" if joined else "leader")
        assert (record.topic == go.record.topic) == joined if key != b"r" else go.process.wait(10) == 255
        window.send(b"exit\r")
        assert window.wait() == 0


def test_the_question_offers_to_replace_a_suspended_one(
    laptop: Laptop, go: GoSession, own_desk: OwnDesk, continued: list[int]
) -> None:
    hold(go.pid, continued)
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env, columns=140) as window:
        window.expect(b"does not answer")
        window.expect(b"Cancel")
        window.send(b"\r")
        window.expect(ANY_PROMPT)
        go.process.wait(10)
        assert record_of(laptop, window.pid).role == "leader"
        window.send(b"exit\r")
        assert window.wait() == 0


# --- Go comes second --------------------------------------------------------------------------------------------------


def test_go_joins_ours_and_opens_all_a_second_time(laptop: Laptop, go_desk: GoDesk, own_desk: OwnDesk) -> None:
    with RemoteShell(laptop) as ours:
        wait_acting(laptop, ours)
        with GoSession(laptop, go_desk) as go:
            go.wait_did("subscribed")
            assert go.wait_did("asked")["alive"] is True, "ours answers its ping"
            assert go.wait_did("registered")["joined"] == ours.pid
            url = opens(ours, "twice")
            wait_until(lambda: (own_desk.opened(), go.desk.opened()) == ([url], [url]), "each of them opens it")
        url = opens(ours, "once")
        wait_until(lambda: own_desk.opened()[-1] == url, "it is open")
        assert own_desk.opened().count(url) == 1


def test_go_has_joined_and_the_list_of_types_is_ours(laptop: Laptop, go_desk: GoDesk, own_desk: OwnDesk) -> None:
    """Each of the two answers; the Go program with its text, whatever was asked for."""
    with RemoteShell(laptop) as ours:
        wait_acting(laptop, ours)
        with GoSession(laptop, go_desk) as go:
            go.wait_did("subscribed")
            go.desk.copy(b"text")
            own_desk.copy(b"\x89PNG\r\n\x1a\n" + os.urandom(100), "image/png")
            for _ in range(20):
                assert ours.run("xclip -selection clipboard -t TARGETS -o") == (0, b"TARGETS\nimage/png\n")


def test_go_replaces_ours_and_nothing_of_it_stays(laptop: Laptop, go_desk: GoDesk, own_desk: OwnDesk) -> None:
    ours = RemoteShell(laptop)
    wait_acting(laptop, ours)
    members = [psutil.Process(ours.pid), *psutil.Process(ours.pid).children()]
    with GoSession(laptop, go_desk, "--replace") as go:
        go.wait_did("subscribed")
        ours.process.wait(10)
        assert psutil.wait_procs(members, 6)[1] == []
        assert [one.pid for one in laptop.sessions()] == [go.pid]
        url = opens(go, "go-s")
        wait_until(lambda: go.desk.opened() == [url], "Go opens it")
        assert own_desk.opened() == []
    ours.close()


def test_go_s_new_topic_takes_the_remote(laptop: Laptop, go_desk: GoDesk, own_desk: OwnDesk) -> None:
    with RemoteShell(laptop) as ours:
        wait_acting(laptop, ours)
        with GoSession(laptop, go_desk, "--new") as go:
            go.wait_did("subscribed")
            url = opens(ours, "go-s")
            wait_until(lambda: go.desk.opened() == [url], "Go opens it")
            assert own_desk.opened() == []


def test_go_can_not_join_a_session_on_the_relay(remote: Sshd) -> None:
    """It takes the relay for a server that it can't reach; ours goes on, also for a third that joins."""
    laptop = Laptop(remote.client)
    go_desk, own_desk = GoDesk(laptop.client.home / "go-desk"), OwnDesk(laptop)
    with RemoteShell(laptop) as ours:
        wait_acting(laptop, ours)
        with GoSession(laptop, go_desk) as go:
            assert go.wait_did("asked")["alive"] is False
            assert go.wait_did("registered")["joined"] == ours.pid
            urls = [opens(ours, "from-ours"), opens(go, "from-go-s-shell")]
            wait_until(lambda: sorted(own_desk.opened()) == sorted(urls), "ours opens both")
            assert not go.did("subscribed")
            with RemoteShell(laptop) as third:
                record_of(laptop, third.pid)
                ours.close()
                urls.append(opens(third, "from-the-third"))
                wait_until(lambda: sorted(own_desk.opened()) == sorted(urls), "the third acts now")
    laptop.wait_gone()


def test_go_fetches_what_was_sent_during_an_outage(go: GoSession, ntfy_server: NtfyServer) -> None:
    urls = [opens(go, "before")]
    wait_until(lambda: sorted(go.desk.opened()) == sorted(urls), "it is open")
    ntfy_server.stop()
    ntfy_server.start()
    urls.append(opens(go, "meanwhile"))
    wait_until(lambda: set(go.desk.opened()) == set(urls), "the other one is open, too")
    assert go.did("subscribed")[-1]["since"]


def test_go_takes_our_remote_for_its_own_release(go: GoSession) -> None:
    """Without a version, or with another one, it would offer to install itself over our shims."""
    assert go.wait_did("prepared")["version"] == VERSION
