"""What is in flight when something fails: handled once, in order, or let go if it is what fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors.clipboard import Clipboard
from actors.messages import IsDrained, LeaseFreed
from actors.supervision import EventKind
from actors.url_opener import UrlOpener
from nssh.bus.deliveries import Delivery
from nssh.local import browser_launcher
from nssh.local.clipboard import MemoryClipboard
from nssh.state import held_urls
from nssh.state.lease import Lease
from nssh.wire import envelope as wire
from tests.supervision.support import PATIENCE, eventually
from tests.tree.stage import PARTS, Faults, InjectedError, Poke, Stage
from tests.tree.way_of_a_message import Calls, profile

if TYPE_CHECKING:
    from actors.worker import Worker
    from nssh.local.clipboard_content import Content

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", ["url_opener", "clipboard", "liveness_responder"])
def test_what_crashes_its_actor_twice_is_let_go_and_the_rest_is_served(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    handle = PARTS[name].actor.handle
    kind = {"url_opener": wire.KIND_OPEN, "clipboard": wire.KIND_CLIP_WRITE, "liveness_responder": wire.KIND_PING}[name]
    crashed: list[int] = []

    def crash_on_poison(actor: Worker, message: Any) -> object:
        if isinstance(message, Delivery) and message.envelope.id == "poison":
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
        first = isinstance(message, Delivery) and message.attempt == 1
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
    store = MemoryClipboard.store

    def note(memory: MemoryClipboard, mime: str, data: Content) -> None:
        written.append(b"".join(data.chunks()))
        store(memory, mime, data)

    monkeypatch.setattr(MemoryClipboard, "store", note)
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
            stage.send("session_registry", LeaseFreed())
            stage.send("session_registry", Poke())
            eventually(lambda: stage.record().bus == "up", "it leads")
            stage.served(url, "early", ping)
            stage.serves()
            assert faults.struck == listener.struck == []
    finally:
        leader.release()


def test_a_write_that_takes_effect_while_the_tree_stops_is_not_made_again_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    with stage.playing():
        message = stage.write("late")
        assert gate.began.wait(PATIENCE)
        stage.tree.supervisor.request_stop()
        eventually(lambda: stage.count(EventKind.ENDED, "subscriber"), "the subscriber has stopped")
        gate.release.set()
    assert gate.written == [message]
    with stage.playing():
        stage.serves()
    assert gate.written.count(message) == 1
    assert len(gate.written) == 2


class Gate:
    """Holds the clipboard up in its writes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.began, self.release = threading.Event(), threading.Event()
        self.written: list[str] = []
        write = Clipboard._write

        def slow(clipboard: Clipboard, job: Delivery) -> None:
            self.began.set()
            assert self.release.wait(PATIENCE)
            self.written.append(job.id)
            write(clipboard, job)

        patch.setattr(Clipboard, "_write", slow)


def test_a_subscriber_that_is_restarted_gives_nothing_twice_to_who_is_at_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, faults = Gate(monkeypatch), Faults("subscriber", monkeypatch)
    with stage.playing():
        first = stage.write("first")
        assert gate.began.wait(PATIENCE)
        stage.send("subscriber", Poke())
        eventually(lambda: stage.count(EventKind.STARTED, "subscriber") == 2, "it is restarted")
        eventually(lambda: len(stage.log("msg-recv")) == 2, "the message came again")
        second = stage.write("second")
        gate.release.set()
        stage.has_read("second")
        assert gate.written == [first, second]
        assert faults.struck == []


@pytest.mark.parametrize("name", ["clipboard", "session_registry"])
def test_who_comes_back_from_a_hang_undoes_nothing_that_its_successor_did(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    faults = Faults(name, monkeypatch)
    try:
        with stage.playing():
            faults.plan("message", faults.hang)
            stage.write("old")
            stage.tell(transport="mosh", prepared=True, version="1")
            faults.let_time_pass(stage)
            stage.has_read("old")
            stage.write("newer")
            stage.has_read("newer")
            stage.tell(transport="ssh", version="2")
            eventually(lambda: stage.record().version == "2", "the newer is on record")
            faults.end(stage)
            assert (stage.record().transport, stage.record().version) == ("ssh", "2")
            stage.has_read("newer")
            stage.serves()
    finally:
        faults.end(stage)


def test_a_repetition_of_what_is_just_being_done_is_left_out(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with stage.playing():
        first = stage.write("same", id="same")
        assert gate.began.wait(PATIENCE)
        stage.write("same", id="same")
        eventually(lambda: len(stage.log("msg-recv")) == 2, "it came")
        gate.release.set()
        stage.serves()
        assert gate.written.count(first) == 1
        assert len(gate.written) == 2


def test_a_url_is_opened_at_most_once_even_if_its_opener_crashes_while_it_opens(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_url = browser_launcher.open_url
    crashes = [1, 1]

    def open_and_crash(url: str, **options: Any) -> None:
        open_url(url, **options)
        if crashes:
            crashes.pop()
            raise InjectedError("after the browser was started")

    monkeypatch.setattr(browser_launcher, "open_url", open_and_crash)
    with stage.playing():
        stage.open_url()
        stage.open_url()
        stage.serves()
        assert crashes == []
        assert stage.log("msg-failed") == []


def test_of_a_backlog_ten_urls_are_opened_and_the_rest_is_held_once_whatever_crashes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults("url_opener", monkeypatch)
    urls = [f"http://example.com/{number}" for number in range(14)]
    for url in urls:
        stage.publish(wire.KIND_OPEN, url=url, id=wire.new_id())
    stage.published += urls[:10]
    add, after, crashes = held_urls.add, UrlOpener.after, [1]

    def add_and_crash(path: str, entry: held_urls.HeldUrl) -> bool:
        if entry.url == urls[11]:
            faults.plan("handled", faults.fail)
        return add(path, entry)

    def count_and_crash(opener: UrlOpener, seconds: float, message: Any) -> object:
        if crashes:
            crashes.pop()
            raise InjectedError("between doing and telling")
        return after(opener, seconds, message)

    monkeypatch.setattr(held_urls, "add", add_and_crash)
    monkeypatch.setattr(UrlOpener, "after", count_and_crash)
    with stage.playing():
        eventually(lambda: stage.record().held == 4, "four are held")
        stage.serves()
        eventually(lambda: stage.record().held == 4, "and counted")
        kept = (stage.state / "t.held").read_text()
        assert [kept.count(f'"{url}"') for url in urls] == [0] * 10 + [1] * 4
        assert stage.count(EventKind.CRASHED, "url_opener") == 2


def test_hundreds_of_messages_that_waited_are_dealt_with_once(stage: Stage) -> None:
    held_urls.add(str(stage.state / "t.held"), held_urls.HeldUrl("http://example.com/found", 1, found=True))
    for number in range(300):
        stage.publish(wire.KIND_OPEN, url=f"http://example.com/{number}", id=f"{number}")
    stage.published += [f"http://example.com/{number}" for number in range(10)]
    with stage.playing():
        eventually(lambda: stage.record().held == 290, "all are held, and a found one is not")
        stage.serves()
        assert len(stage.log("msg-recv")) >= 300, "no line is lost"
        assert stage.count(EventKind.DROPPED) == 0


def test_an_open_is_looked_up_and_claimed_no_more_often_than_it_must_be(stage: Stage) -> None:
    """Looked up: by the feed, under its key, and as one that was handed out for the last time. Claimed: before it is
    opened, under its key, and behind that, under its own id.
    """
    calls = Calls()
    with calls.noted(), stage.playing():
        profile(stage, calls)
    assert calls.named("actors.url_opener", "_act") == 1
    assert (calls.named("nssh.bus.ledger", "seen"), calls.named("nssh.bus.ledger", "claim")) == (3, 2)


def test_a_session_that_is_over_waits_for_a_bridge_that_drains_and_takes_what_came_behind_its_last_poll(
    stage: Stage,
) -> None:
    """Two commands right behind one another: the first one's bridge still has the lease, and has polled already."""
    other = Lease(stage.session.lease)
    assert other.acquire()
    with stage.playing(until_up=False):
        eventually(lambda: stage.record().role == "standby", "another bridge leads")
        url = stage.open_url()
        assert not stage.tree.supervisor.directory.ask("subscriber", IsDrained(), PATIENCE)
        other.release()
        eventually(lambda: stage.tree.supervisor.directory.ask("subscriber", IsDrained(), PATIENCE), "all is done")
        assert stage.opened() == [url]
