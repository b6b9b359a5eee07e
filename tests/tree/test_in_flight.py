"""What is in flight when something fails: handled once, in order, or let go if it is what fails."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.clipboard import Clipboard
from actors.lines import Line
from actors.messages import EventKind, Tick, Work
from nssh.bus.client import BusClient
from nssh.errors import BusError
from nssh.lease import Lease
from nssh.local.clipboard import MemoryClipboard
from nssh.wire import envelope as wire
from tests.tree.stage import PARTS, Faults, InjectedError, Poke, Stage
from tests.tree.support import PATIENCE, eventually

if TYPE_CHECKING:
    from actors.worker import Worker
    from tests.tree.stage import Theatre


def work(message_id: str) -> Work:
    return Work(message_id, wire.Envelope(wire.KIND_PING), None, 0, message_id)


def test_a_line_gives_one_after_another_and_again_what_was_not_done() -> None:
    line = Line()
    assert line.add(work("a")) == work("a")
    assert line.add(work("b")) is None
    assert line.add(work("c")) is None
    assert line.done("b") is None, "not given yet: nothing of ours"
    given, failed = line.again()
    assert given == work("a")._replace(attempt=2)
    assert failed is None
    # The second time it is what crashes; those behind it crashed nobody.
    assert line.again() == (work("b"), work("a")._replace(attempt=2))
    assert line.done("b") == work("c")
    assert line.done("b") is None, "the answer to a copy"
    assert line.done("c") is None
    assert not line


def test_a_line_puts_what_was_postponed_first_again_in_order() -> None:
    line = Line()
    for name in "abcd":
        line.add(work(name))
    assert line.postpone("a") == work("b")
    assert line.postpone("x") is None
    assert line.postpone("b") == work("c")
    assert line.again() == (work("a"), None)
    assert [line.done(name) for name in "abcd"] == [work("b"), work("c")._replace(attempt=2), work("d"), None]
    assert not line


@pytest.mark.parametrize("name", ["url_opener", "clipboard", "liveness_responder"])
def test_what_crashes_its_actor_twice_is_let_go_and_the_rest_is_served(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    handle = PARTS[name].actor.handle
    kind = {"url_opener": wire.KIND_OPEN, "clipboard": wire.KIND_CLIP_WRITE, "liveness_responder": wire.KIND_PING}[name]
    crashed: list[int] = []

    def crash_on_poison(actor: Worker, message: Any) -> object:
        if isinstance(message, Work) and message.envelope.id == "poison":
            crashed.append(message.attempt)
            raise InjectedError("poison")
        return handle(actor, message)

    monkeypatch.setattr(PARTS[name].actor, "handle", crash_on_poison)
    with stage.playing():
        poison = stage.publish(kind, id="poison", url="http://example.com/poison", body=b"poison")
        stage.serves()
        eventually(lambda: stage.log("msg-failed"), "it is let go")
        assert [(line["kind"], line["id"]) for line in stage.log("msg-failed")] == [(kind, poison)]
        assert crashed == [1, 2]
        assert stage.count(EventKind.RESTARTING) == 2
    # A bridge after this one has done with it, too.
    with stage.playing():
        stage.serves()
    assert crashed == [1, 2]


def test_what_wedges_its_actor_twice_is_not_tried_by_the_next_bridge(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time ends the process: the next one must not end the same way, for ever."""
    stage.supervision["abandonments"] = 1
    faults = Faults("clipboard", monkeypatch)
    try:
        with stage.playing():

            def hang_again() -> None:
                faults.plan("message", faults.hang)
                faults.hang()

            faults.plan("message", hang_again)
            poison = stage.write("poison")
            faults.let_time_pass(stage)
            eventually(lambda: faults.struck.count("message") == 2, "it is given again")
            faults.let_time_pass(stage)
            eventually(lambda: stage.tree.supervisor.escalation, "that is too much")
        faults.end(stage)
        with stage.playing():
            stage.serves()
            assert [line["id"] for line in stage.log("msg-failed")] == [poison]
    finally:
        faults.end(stage)


def crash_on_each_third(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let an actor crash on each third message that is given to it the first time: in turn before and after it acts."""
    handle = PARTS[name].actor.handle
    count = 0

    def crash_on_third(actor: Worker, message: Any) -> object:
        nonlocal count
        first = isinstance(message, Work) and message.attempt == 1
        count += first
        if first and count % 6 == 1:
            raise InjectedError("before")
        answer = handle(actor, message)
        if first and count % 6 == 4:
            raise InjectedError("after")
        return answer

    patch.setattr(PARTS[name].actor, "handle", crash_on_third)


def test_writes_take_effect_in_order_whichever_of_them_the_clipboard_crashes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    write = MemoryClipboard.write

    def note(memory: MemoryClipboard, mime: str, data: bytes) -> None:
        written.append(data)
        write(memory, mime, data)

    monkeypatch.setattr(MemoryClipboard, "write", note)
    stage.supervision["intensity"] = 50
    crash_on_each_third(monkeypatch, "clipboard")
    with stage.playing():
        texts = [f"text {number}" for number in range(20)]
        for text in texts:
            stage.write(text)
        assert stage.read() == texts[-1].encode()
    # One that took effect before the crash may do so once more: at that point, not later.
    assert list(dict.fromkeys(written)) == [text.encode() for text in texts]
    assert written == sorted(written, key=lambda text: int(text.split()[1]))
    assert stage.count(EventKind.CRASHED) >= 6


def test_urls_are_opened_once_in_order_whichever_of_them_the_opener_crashes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.supervision["intensity"] = 50
    crash_on_each_third(monkeypatch, "url_opener")
    with stage.playing():
        for _ in range(20):
            stage.open_url()
        eventually(lambda: len(stage.opened()) == 20, "all are opened")
        assert stage.opened() == stage.published
    assert stage.count(EventKind.CRASHED) >= 6


def test_a_shim_that_publishes_again_is_served_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults("url_opener", monkeypatch)
    with stage.playing():
        faults.plan("message", faults.fail)
        for _ in range(3):
            stage.publish(wire.KIND_OPEN, url="http://example.com/twice", id="the same")
        stage.published.append("http://example.com/twice")
        stage.serves()
        stage.publish(wire.KIND_OPEN, url="http://example.com/twice", id="the same")
        stage.serves()
    with stage.playing():
        stage.serves()


@pytest.mark.parametrize("victim", [*PARTS, "all"])
def test_a_leader_keeps_the_lease_and_its_cursor_whoever_crashes(stage: Stage, victim: str, monkeypatch: Any) -> None:
    stage.supervision["intensity"] = 50
    pokes = [Faults(name, monkeypatch) for name in (PARTS if victim == "all" else [victim])]
    other = Lease(stage.session.lease)
    with stage.playing():
        for _ in range(2):
            before = stage.count(EventKind.STARTED)
            for faults in pokes:
                stage.send(faults.name, Poke())
            while stage.count(EventKind.STARTED) < before + len(pokes):
                assert not other.acquire()
            stage.serves()
        assert len(stage.log("standby")) == 0
    assert other.acquire()
    other.release()


def test_a_standby_leads_as_soon_as_it_can_even_if_it_hears_of_it_in_pieces(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, listener = Faults("session_registry", monkeypatch), Faults("subscriber", monkeypatch)
    leader = Lease(stage.session.lease)
    assert leader.acquire()
    try:
        with stage.playing(until_up=False):
            eventually(lambda: stage.record().role == "standby", "it stands by")
            url = stage.open_url()
            stage.write("early")
            ping = stage.ask(wire.KIND_PING)
            # The news of the lease meets a subscriber that is down, and comes from a registry that goes down after it.
            for _ in range(2):
                stage.send("subscriber", Poke())
            leader.release()
            stage.send("session_registry", Tick())
            stage.send("session_registry", Poke())
            eventually(lambda: stage.record().bus == "up", "it leads")
            stage.served(url, "early", ping)
            stage.serves()
            assert faults.struck == listener.struck == []
    finally:
        leader.release()


def test_an_answer_survives_the_publisher(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it ends: what was in its hand and what waited behind it is sent by its successor, in order."""
    faults = Faults("publisher", monkeypatch)
    publish = BusClient.publish_envelope
    failures = [KeyError("a defect"), BusError("not now", "server"), SystemExit(1)]

    def fail_first(client: BusClient, topic: str, envelope: wire.Envelope) -> object:
        if envelope.kind == wire.KIND_CLIP_READ_RESPONSE and failures:
            raise failures.pop()
        return publish(client, topic, envelope)

    monkeypatch.setattr(BusClient, "publish_envelope", fail_first)
    with stage.playing():
        stage.write("kept")
        faults.plan("__init__#2", faults.fail)
        asked = [stage.ask(wire.KIND_CLIP_READ_REQUEST, mime="text/plain") for _ in range(5)]
        eventually(
            lambda: all(stage.answers(wire.KIND_CLIP_READ_RESPONSE, one) for one in asked), "every read is answered"
        )
        assert [len(stage.answers(wire.KIND_CLIP_READ_RESPONSE, one)) for one in asked] == [1] * 5
        assert not failures
        assert stage.log("publish-failed") == []


def test_an_answer_that_crashes_the_publisher_is_given_up_and_who_waits_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = BusClient.publish_envelope
    crashes: list[str] = []

    def fail(client: BusClient, topic: str, envelope: wire.Envelope) -> object:
        if envelope.kind == wire.KIND_CLIP_READ_RESPONSE and envelope.body == b"poison":
            crashes.append(envelope.id)
            raise InjectedError("poison")
        return publish(client, topic, envelope)

    monkeypatch.setattr(BusClient, "publish_envelope", fail)
    with stage.playing():
        stage.write("poison")
        assert stage.read().startswith(b"ERROR: ")
        assert len(crashes) == 2
        assert len(stage.log("publish-failed")) == 1
        stage.serves()


class Downloads:
    """A bus whose files can't be had for a while."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: str) -> None:
        self.tried = 0
        self.fails = True
        original = BusClient.download

        def download(client: BusClient, *args: Any, **options: Any) -> bytes:
            self.tried += 1
            if self.fails:
                raise BusError("the files are elsewhere", kind)
            return original(client, *args, **options)

        patch.setattr(BusClient, "download", download)


def await_idle(stage: Stage, name: str) -> None:
    """Wait until nothing is left in an actor's hands or mailbox."""

    def idle() -> bool:
        life = stage.tree.supervisor._children[name].incarnation
        return life is not None and life.ref is not None and life.work is None and life.ref.actor_inbox.empty()

    eventually(idle, f"{name} is idle")


def await_postponed(stage: Stage, downloads: Downloads) -> None:
    """Let a write be tried again that late that others need not wait for it any more."""
    tried = downloads.tried
    stage.clock.skip(4)
    eventually(lambda: downloads.tried > tried, "it is tried again")


def test_a_read_after_a_write_whose_file_is_slow_to_come_gets_what_was_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = Downloads(monkeypatch, "unreachable")
    with stage.playing():
        stage.write("before")
        stage.write("x" * 5000)
        asked = stage.ask(wire.KIND_CLIP_READ_REQUEST, mime="text/plain")
        eventually(lambda: downloads.tried > 1, "it is tried more than once")
        downloads.fails = False
        eventually(lambda: stage.answers(wire.KIND_CLIP_READ_RESPONSE, asked), "the read is answered")
        assert stage.answers(wire.KIND_CLIP_READ_RESPONSE, asked)[0].body == b"x" * 5000
        assert len(stage.log("download-failed")) == 1


def test_a_write_whose_file_can_not_be_had_yet_is_tried_again_and_holds_nothing_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = Downloads(monkeypatch, "unreachable")
    with stage.playing():
        stage.write("before")
        stage.write("x" * 5000)
        eventually(lambda: downloads.tried, "it is tried")
        await_postponed(stage, downloads)
        stage.has_read("before")
        downloads.fails = False
        stage.clock.skip(10)
        eventually(lambda: stage.read() == b"x" * 5000, "it arrives")


def test_a_write_that_waited_for_its_file_does_not_undo_a_newer_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = Downloads(monkeypatch, "unreachable")
    faults = Faults("clipboard", monkeypatch)
    with stage.playing():
        old = stage.write("x" * 5000)
        eventually(lambda: downloads.tried, "it is tried")
        await_postponed(stage, downloads)
        # A crash meanwhile: it is given again, in front of what is newer.
        tried = downloads.tried
        stage.send("clipboard", Poke())
        eventually(lambda: downloads.tried > tried, "it is tried again")
        stage.write("newer")
        await_postponed(stage, downloads)
        stage.has_read("newer")
        downloads.fails = False
        stage.clock.skip(10)
        await_idle(stage, "clipboard")
        stage.has_read("newer")
        assert [line["id"] for line in stage.log("clip-superseded")] == [old]
        assert faults.struck == []
        stage.serves()


def test_a_write_whose_file_is_gone_is_told_to_the_user_until_one_succeeds(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    Downloads(monkeypatch, "request")
    with stage.playing():
        stage.write("x" * 5000)
        eventually(lambda: "clipboard write failed" in stage.record().problem, "the user is told")
        stage.serves()
        assert stage.record().problem == ""


def test_a_text_that_the_server_keeps_in_a_file_is_fetched_again_before_what_follows_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ntfy makes a file of a long text; the relay is made to look as if it did."""
    failures = [BusError("not now", "unreachable"), BusError("not now", "limit")]
    full_text = BusClient.full_text

    def fail_first(client: BusClient, message: Any) -> str:
        if "first" in message.text and failures:
            raise failures.pop()
        return full_text(client, message)

    monkeypatch.setattr(BusClient, "full_text", fail_first)
    with stage.playing():
        first = stage.open_url(id="first")
        second = stage.open_url()
        eventually(lambda: len(stage.log("fetch-failed")) == 1, "it can't be had")
        assert stage.opened() == []

        def opened() -> list[str]:
            stage.clock.skip(5)
            return stage.opened()[1:]

        eventually(opened, "both are opened")
        assert stage.opened() == [first, second], "in order"
        assert not failures
        stage.serves()


def test_a_write_that_takes_effect_while_the_tree_stops_is_not_made_again_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, release, written = threading.Event(), threading.Event(), []
    write = Clipboard._write

    def slow(clipboard: Clipboard, job: Work) -> None:
        began.set()
        assert release.wait(PATIENCE)
        written.append(job.id)
        write(clipboard, job)

    monkeypatch.setattr(Clipboard, "_write", slow)
    with stage.playing():
        message = stage.write("late")
        assert began.wait(PATIENCE)
        stage.tree.supervisor.request_stop()
        eventually(lambda: stage.count(EventKind.ENDED, "subscriber"), "the subscriber has stopped")
        release.set()
    assert written == [message]
    with stage.playing():
        stage.serves()
    assert written[:1] + written[1:2] == [message, written[1]]
    assert written.count(message) == 1


def test_of_a_backlog_ten_urls_are_opened_and_the_rest_is_held_once_whatever_crashes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults("url_opener", monkeypatch)
    urls = [f"http://example.com/{number}" for number in range(14)]
    for url in urls:
        stage.publish(wire.KIND_OPEN, url=url, id=wire.new_id())
    stage.published += urls[:10]
    crashes = iter([None] * 11 + [faults.fail, None, faults.fail])

    def crash_on_held() -> None:
        act = next(crashes, None)
        faults._plans["handled"] = crash_on_held
        if act is not None:
            act()

    faults.plan("handled", crash_on_held)
    with stage.playing():
        eventually(lambda: stage.record().held == 4, "four are held")
        stage.serves()
        eventually(lambda: stage.record().held == 4, "and counted")
        held = (stage.state / "t.held").read_text()
        assert [held.count(f'"{url}"') for url in urls] == [0] * 10 + [1] * 4
        assert stage.count(EventKind.CRASHED, "url_opener") == 2


def test_hundreds_of_messages_that_waited_are_dealt_with_once(stage: Stage) -> None:
    for number in range(300):
        stage.publish(wire.KIND_OPEN, url=f"http://example.com/{number}", id=f"{number}")
    stage.published += [f"http://example.com/{number}" for number in range(10)]
    with stage.playing():
        eventually(lambda: stage.record().held == 290, "all are held")
        stage.serves()
        assert len(stage.log("msg-recv")) >= 300, "no line is lost"
        assert stage.count(EventKind.DROPPED) == 0


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


def test_records_and_held_urls_that_can_not_be_written_disturb_no_session(stage: Stage) -> None:
    """A file where a directory should be: no permission helps, root's neither."""
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
        stage.send("session_registry", Tick())
        ping = stage.ask(wire.KIND_PING)
        eventually(lambda: stage.answers(wire.KIND_PONG, ping), "the topic answers")
        sessions.unlink()
        (stage.state / "away").rename(sessions)
    assert {event.id for event in stage.happened if event.kind is EventKind.CRASHED} <= {"liveness_responder"}
