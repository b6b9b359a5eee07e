"""A tree among hostile messages, disks that are full or read-only, and clocks that jump."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.messages import LeaseFreed
from actors.supervision import EventKind
from nssh.base.clock import uptime
from nssh.log import event_log
from nssh.state import session_records
from nssh.wire import envelope as wire
from tests.supervision.support import PATIENCE, eventually
from tests.tree.stage import Faults, Poke, Stage, await_idle

if TYPE_CHECKING:
    from tests.tree.stage import Theatre

pytestmark = pytest.mark.real


def await_reconnected(stage: Stage, count: int) -> None:
    eventually(lambda: len(stage.log("subscribe-up")) >= count, "it reconnects")


def test_a_machine_that_wakes_reconnects_at_once(theatre: Theatre, monkeypatch: Any, directory: Path) -> None:
    drift = [0.0]
    stage = Stage(theatre, monkeypatch, directory, over_ssh=True)
    with stage.playing(drift=lambda: drift[0]):
        stage.serves()
        for jump in (3600.0, -3600.0):
            before = len(stage.log("subscribe-up"))
            drift[0] += 5.0
            stage.clock.skip(15)
            drift[0] += jump
            stage.clock.skip(15)
            await_reconnected(stage, before + 1)
            assert stage.log("subscribe-up")[-1]["reconnect"] is True
            stage.serves()
        assert stage.count(EventKind.CRASHED) == 0


def test_a_restarted_subscriber_or_bridge_tells_that_it_is_not_the_first_and_the_gap(
    stage: Stage, monkeypatch: Any
) -> None:
    faults = Faults("subscriber", monkeypatch)
    with stage.playing():
        faults.plan("message", faults.fail)
        stage.open_url()
        await_reconnected(stage, 2)
        first, second = stage.log("subscribe-up")
        assert ("reconnect" in first, "gap" in first) == (False, False)
        assert (second["reconnect"], second["gap"][-1]) == (True, "s")
        last = stage.record().bus_heard
        assert 0 < last <= uptime()
    # What the launcher tells the next bridge, an hour later.
    stage.session = stage.session._replace(restarts=1, bus_heard=last - 3600)
    with stage.playing():
        third = stage.log("subscribe-up")[-1]
        assert third["reconnect"] is True
        assert third["gap"].startswith("1h0m")
        stage.serves()


def test_a_small_step_of_the_clock_changes_nothing(stage: Stage) -> None:
    looked = threading.Event()

    def drift() -> float:
        looked.set()
        return 9.0 if stage.clock.monotonic() > started + 5 else 0.0

    started = stage.clock.monotonic()
    with stage.playing(drift=drift):
        looked.clear()
        stage.clock.skip(15)
        assert looked.wait(PATIENCE)
        stage.serves()
        assert len(stage.log("subscribe-up")) == 1


def encoded(fields: str) -> str:
    return "{" + fields + "}"


HOSTILE = {
    "no JSON": "no JSON",
    "empty": "{}",
    "an array": '["open"]',
    "a number": "7",
    "deep": "[" * 3000,
    "kind of a wrong type": encoded('"kind":7'),
    "URL of a wrong type": encoded('"kind":"open","url":["http://example.com/no"]'),
    "id of a wrong type": encoded('"kind":"ping","id":{}'),
    "bad base64": encoded('"kind":"clip-write","body":"*"'),
    "base64 without padding": encoded('"kind":"clip-write","body":"eA"'),
    "a lone surrogate": encoded('"kind":"open","url":"http://example.com/\\ud800"'),
    "unknown kind": encoded('"kind":"format-disk","url":"http://example.com/no"'),
    "kind in capitals": encoded('"kind":"OPEN","url":"http://example.com/no"'),
    "file": encoded('"kind":"open","url":"file:///etc/passwd","id":"h1"'),
    "javascript": encoded('"kind":"open","url":"javascript:alert(1)"'),
    "an option": encoded('"kind":"open","url":"--help"'),
    "no URL": encoded('"kind":"open"'),
    "control characters": encoded('"kind":"open","url":"http://example.com/\\u001b[2J\\u0000"'),
    "a line break": encoded('"kind":"open","url":"http://example.com/\\nhttp://example.com/2"'),
    "user in a URL": encoded('"kind":"open","url":"http://good.example@example.com/no"'),
    "long URL": encoded(f'"kind":"open","url":"http://example.com/{"x" * 9000}"'),
    "long id": encoded(f'"kind":"ping","id":"{"x" * 9000}"'),
    "long kind": encoded(f'"kind":"{"x" * 90000}"'),
    "long mime": encoded(f'"kind":"clip-read-request","id":"h3","mime":"{"x" * 90000}"'),
    "strange mime": encoded('"kind":"clip-write","mime":"../../x\\u0007","body":"eA=="'),
    "write without a body": encoded('"kind":"clip-write","mime":"image/png"'),
    "image that is none": encoded('"kind":"clip-write","mime":"image/png","body":"eA=="'),
    "read of a strange type": encoded('"kind":"clip-read-request","mime":"\\u001b]0;x\\u0007","id":"h2"'),
    "read without an id": encoded('"kind":"clip-read-request"'),
    "ping without an id": encoded('"kind":"ping"'),
    "pong nobody asked for": encoded('"kind":"pong","id":"x"'),
    "our own kind of answer": encoded('"kind":"clip-read-response","id":"x","body":"eA=="'),
    "very long": encoded(f'"kind":"open","x":"{"y" * 300_000}"'),
}


def test_hostile_messages_harm_nobody_and_the_next_good_one_is_served(stage: Stage) -> None:
    with stage.playing():
        stage.write("good")
        for text in HOSTILE.values():
            stage.bus.publish(stage.topic, text)
        stage.bus.publish_file(stage.topic, b"", "clip.png", encoded('"kind":"clip-write","mime":"image/png"'))
        stage.bus.publish_file(stage.topic, b"\0" * 9, "../../x", encoded('"kind":"open","url":"file:///x"'))
        await_idle(stage, "subscriber")
        url = stage.open_url()
        eventually(lambda: url in stage.opened(), "the next is opened")
        assert stage.opened() == [url]
        stage.write("better")
        stage.has_read("better")
        assert stage.count(EventKind.CRASHED) == 0
        assert stage.probe()["alive"] is True
        eventually(lambda: len(stage.log("open-failed")) >= 6, "what is refused is logged")
        lines = Path(stage.session.log).read_text(encoding="ascii")
        for secret in ("passwd", "/no", "alert", "help", "\x1b"):
            assert secret not in lines, "a log holds nothing of a payload or a URL's path"
        assert max(map(len, lines.splitlines())) < 5000


def test_logs_that_can_not_be_written_cost_lines_and_nothing_else(stage: Stage) -> None:
    gone = stage.state / "gone"
    stage.session = stage.session._replace(log=os.fspath(gone / "log.jsonl"))
    with stage.playing():
        url = stage.open_url()
        eventually(lambda: url in stage.opened(), "the URL is opened")
        gone.mkdir()
        stage.serves()
        assert stage.log()[0]["event"] == "log-lost"
        assert stage.log()[0]["lines"] >= 3
        assert stage.count(EventKind.CRASHED) == 0


def test_records_and_held_urls_that_can_not_be_written_disturb_no_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where a directory should be: no permission helps, root's neither."""
    faults = Faults("liveness_responder", monkeypatch)
    (stage.state / "t.held").mkdir()
    for number in range(12):
        stage.publish(wire.KIND_OPEN, url=f"http://example.com/{number}", id=f"{number}")
    stage.published += [f"http://example.com/{number}" for number in range(10)]
    with stage.playing():
        eventually(lambda: "can't be kept" in stage.record().problem, "the user is told")
        stage.serves()
        sessions = stage.state / "sessions"
        sessions.rename(stage.state / "away")
        sessions.write_text("")
        stage.open_url()
        eventually(lambda: stage.opened() == stage.published, "opened all the same")
        stage.send("liveness_responder", Poke())
        stage.send("session_registry", LeaseFreed())
        ping = stage.ask(wire.KIND_PING)
        eventually(lambda: stage.answers(wire.KIND_PONG, ping), "the topic answers")
        sessions.unlink()
        (stage.state / "away").rename(sessions)
    assert [event.id for event in stage.happened if event.kind is EventKind.CRASHED] == [faults.name], "poked"
    assert stage.log("control-failed")
    assert stage.log("record-failed")


def test_a_record_that_could_not_be_written_is_written_as_soon_as_it_can_be(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = session_records.write, [False]

    def refuse(record: session_records.Record) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        write(record)

    monkeypatch.setattr(session_records, "write", refuse)
    with stage.playing():
        full[0] = True
        stage.tell(transport="mosh", prepared=True, version="9.9")
        eventually(lambda: stage.log("record-failed"), "it is logged")
        assert stage.record().version != "9.9"
        full[0] = False
        stage.clock.skip(6)
        eventually(lambda: stage.record().version == "9.9", "the record tells")


def test_old_logs_and_records_that_can_not_be_removed_keep_no_session_from_starting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(event_log, "prune", refuse)
    monkeypatch.setattr(session_records, "survey", refuse)
    with stage.playing():
        stage.serves()
        assert stage.log("log-prune-failed")[0]["err"] == "Permission denied"
        assert stage.log("record-failed")[0]["err"] == "Permission denied"


def test_a_remote_host_that_crashed_before_the_login_was_done_goes_another_way(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    stage = Stage(theatre, monkeypatch, directory)
    stage.session = stage.session._replace(control_path=os.fspath(directory / "nobody"))
    faults = Faults("remote_host", monkeypatch)
    with stage.playing(until_up=False):
        eventually(lambda: stage.record().bus == "up", "the bus is up")
        assert stage.record().route == "", "it waits for the login"
        stage.send("remote_host", Poke())
        eventually(lambda: stage.record().route in {"paramiko", "batch"}, "it is connected")
        assert faults.struck == []
