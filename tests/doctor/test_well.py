"""A host on which all is well: everything is tried, said, timed; and nothing is left, opened, or disturbed."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest

from tests.doctor.support import directories, doctor, tree, wait_tidy
from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.sshd import Sshd
from tests.lab.system import require
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.lab.x11 import xvfb

pytestmark = pytest.mark.real

MEASURED = {"login", "round-trip", "bus", "subscribe", "publish", "attachment", "open", "copy", "paste"}


def test_all_is_well_and_nothing_is_left(either: Laptop, remote: Sshd, request: pytest.FixtureRequest) -> None:
    before = tree(remote.home, either.client.home)
    report = doctor(either)
    assert report.named("failed") == report.named("skipped") == []
    assert report.limited == set(), report.told()
    assert report.status == 0
    assert all(0 < report.steps[name]["seconds"] < 60 for name in MEASURED)
    assert report.content["host"] == "devbox"
    assert report.content["key"].endswith(f"@127.0.0.1:{remote.port}")
    wait_tidy(remote)
    assert tree(remote.home, either.client.home) == before
    assert either.opened() == []
    assert remote.leftovers() == []


def test_a_first_run_leaves_no_state_directory(own: Sshd) -> None:
    laptop = Laptop(own.client)
    subprocess.run(["rm", "-r", os.fspath(laptop.state)], check=True)
    before = tree(own.home, laptop.client.home)
    assert doctor(laptop).status == 0
    wait_tidy(own)
    assert tree(own.home, laptop.client.home) == before


def test_for_people_it_is_a_line_a_step(laptop: Laptop) -> None:
    done = laptop.run("doctor", "devbox", timeout=100)
    assert done.returncode == 0
    *lines, last = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ ok, \d with limits", last)
    names = [line.split()[1] for line in lines if not line.startswith(" ")]
    assert names == list(doctor(laptop).steps)
    assert all(line.isprintable() for line in lines)
    assert re.search(
        r"^ok +login +by paramiko, with the key SHA256:\S+ \(ssh-ed25519\) from a file \(\d", done.stdout, re.MULTILINE
    )


def test_beside_a_live_session_it_takes_its_connection_and_changes_nothing(either: Laptop, remote: Sshd) -> None:
    with RemoteShell(either) as shell:
        (record,) = either.wait_up()
        shell.run("xdg-open http://example.com/before")
        either.wait_opened("http://example.com/before")
        session = remote.state / "nssh/session"
        before = tree(session)
        sent = [event for event in either.events() if event["event"] == "msg-recv"]
        report = doctor(either)
        assert report.named("failed") == [], report.told()
        assert f"over the connection of session {record.pid}" in report.text("login")
        assert f"{record.pid} (ssh, leader) answers in" in report.text("sessions")
        assert "the live session" in report.text("session-file")
        assert record.topic not in str(report.content)
        assert tree(session) == before
        # Liveness is asked by a ping around the session's own topic, which is what the session is for.
        assert [one for one in either.events() if one["event"] == "msg-recv" and one["kind"] != "ping"] == [
            one for one in sent if one["kind"] != "ping"
        ]
        assert either.opened() == ["http://example.com/before"]
        wait_tidy(remote)
        assert shell.run("xdg-open http://example.com/after") == (0, b"")
        either.wait_opened("http://example.com/after")
    either.wait_gone()
    either.opened_file.unlink()
    (remote.state / "nssh/session").unlink()


def test_a_second_session_that_stands_by_is_no_fault(laptop: Laptop) -> None:
    with RemoteShell(laptop), RemoteShell(laptop):
        wait_until(lambda: {one.role for one in laptop.sessions()} == {"leader", "standby"}, "one stands by")
        report = doctor(laptop)
        assert report.named("failed") == [], report.told()
        assert "stands by" in report.text("sessions")
    laptop.wait_gone()


def test_where_a_password_is_needed_a_live_session_has_given_it() -> None:
    with Sshd(password=True, shell="bash") as remote:  # noqa: S604 - the account's login shell
        laptop = Laptop(remote.client)
        laptop.infect()
        remote.client.host("devbox", f"HostName {remote.address}", f"Port {remote.port}", f"User {remote.user}",
                           "PreferredAuthentications password", "PubkeyAuthentication no")  # fmt: skip
        report = doctor(laptop)
        assert report.named("failed") == ["login"]
        assert "needs a password" in report.text("login")
        assert "start nssh devbox first" in report.text("login")
        assert remote.password is not None
        with Terminal([*NSSH, "--ssh", "devbox"], laptop.env) as window:
            window.expect(b"password:")
            window.send(remote.password.encode() + b"\r")
            laptop.wait_up()
            report = doctor(laptop)
            assert report.steps["login"]["state"] == "ok"
            assert "over the connection of session" in report.text("login")
            assert report.steps["paste"]["state"] == "ok"
            window.send(b"exit\r")
            window.wait()
        laptop.wait_gone()


def test_the_clipboard_of_the_laptop_is_asked_and_stays(laptop: Laptop) -> None:
    require("xclip", "Xvfb")
    with xvfb() as display:
        env = {**laptop.env, **display}
        subprocess.run(["xclip", "-selection", "clipboard"], input=b"precious", env=env, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        laptop.env |= display
        report = doctor(laptop)
        assert report.steps["clipboard"]["state"] == "ok"
        assert "xclip, which holds text/plain" in report.text("clipboard")
        assert "precious" not in str(report.content)
        read = subprocess.run(["xclip", "-selection", "clipboard", "-o"], env=env, capture_output=True, check=True)
        assert read.stdout == b"precious"
        for name in display:
            del laptop.env[name]
        # The xclip that serves the clipboard ends with its display.
    laptop.wait_gone()


def test_killed_in_the_middle_it_leaves_nothing_on_the_remote(laptop: Laptop, remote: Sshd) -> None:
    before = tree(remote.home)
    with subprocess.Popen([*NSSH, "doctor", "devbox"], env=laptop.env, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if " publish " in line:
                break
        assert directories(remote.home), "it was at work"
        running.send_signal(signal.SIGKILL)
    wait_tidy(remote)
    assert tree(remote.home) == before


def test_interrupted_it_is_gone_at_once_and_leaves_nothing(laptop: Laptop, remote: Sshd) -> None:
    before = tree(remote.home)
    with subprocess.Popen([*NSSH, "doctor", "devbox"], env=laptop.env, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if " bus " in line:
                break
        running.send_signal(signal.SIGINT)
    assert running.returncode == 130
    wait_tidy(remote)
    assert tree(remote.home) == before
