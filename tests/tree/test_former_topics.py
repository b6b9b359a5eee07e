"""After a Replace: what comes on the topic before takes effect once, in order, until nothing can come there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from actors.messages import SessionFileWritten
from nssh.bus import drain
from nssh.bus.ledger import Ledger
from nssh.state import former_topics, held_urls
from nssh.state.former_topics import FormerTopic
from nssh.wire import envelope as wire
from tests.supervision.support import eventually
from tests.tree.stage import Poke, Stage

pytestmark = pytest.mark.real


class Former:
    """A topic that the stage's session had before."""

    def __init__(self, stage: Stage, **fields: object) -> None:
        self.stage = stage
        self.name = f"nssh_{os.urandom(8).hex()}"
        former = FormerTopic(self.name, int(time.time()))._replace(**fields)  # type: ignore[arg-type]  # its fields
        former_topics.add(stage.session.ledger, [former])

    def publish(self, kind: str, **fields: object) -> str:
        fields = {"id": wire.new_id(), **fields}
        return self.stage.bus.publish_envelope(self.name, wire.Envelope(kind, **fields)).id  # type: ignore[arg-type]

    def open(self, name: str, **fields: object) -> str:
        """Publish a URL that is to be opened once."""
        url = f"http://example.com/{name}"
        self.publish(wire.KIND_OPEN, url=url, **fields)
        self.stage.published.append(url)
        return url

    @property
    def is_forgotten(self) -> bool:
        return not former_topics.read(self.stage.session.ledger, "")

    def answer(self, asked: str) -> list[bytes]:
        texts = [wire.decode(message.text) for message in self.stage.bus.poll(self.name, None)]
        return [one.body for one in texts if one.kind == wire.KIND_CLIP_READ_RESPONSE and one.id == asked]


def test_what_waited_what_comes_and_what_is_asked_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "GRACE", 1.0)
    former = Former(stage)
    first = former.open("waited")
    with stage.playing():
        stage.publish(wire.KIND_CLIP_WRITE, mime="text/plain", body=b"copied", id=wire.new_id())
        second = former.open("later")
        eventually(lambda: stage.opened() == [first, second], "both are opened")
        asked = wire.new_id()
        former.publish(wire.KIND_CLIP_READ_REQUEST, mime="text/plain", id=asked)
        eventually(lambda: former.answer(asked) == [b"copied"], "the answer is where the question was")
        assert not former.is_forgotten
        stage.send("subscriber", SessionFileWritten())
        last = former.open("last")
        eventually(lambda: former.is_forgotten, "it is forgotten")
        assert stage.opened() == [first, second, last]
        assert len(stage.log("former-topic-drained")) == 1
        stage.serves()
    assert not Path(former_topics.path_of(stage.session.ledger)).exists()


def test_one_message_on_both_topics_takes_effect_once(stage: Stage) -> None:
    former = Former(stage)
    with stage.playing():
        for number in range(4):
            url = former.open(str(number), id=f"same{number}")
            stage.publish(wire.KIND_OPEN, url=url, id=f"same{number}")
            eventually(lambda url=url: url in stage.opened(), "it is opened")  # type: ignore[misc]
        stage.serves()


def test_what_was_accepted_first_takes_effect_first(stage: Stage) -> None:
    former = Former(stage)
    with stage.playing():
        for number in range(6):
            former.open(f"former{number}")
            url = stage.open_url()
            eventually(lambda url=url: url in stage.opened(), "it is opened")  # type: ignore[misc]
            assert stage.opened() == stage.published


@pytest.mark.parametrize("victim", ["subscriber", "url_opener", "bridge"])
def test_whatever_dies_over_it(stage: Stage, monkeypatch: pytest.MonkeyPatch, victim: str) -> None:
    monkeypatch.setattr(drain, "GRACE", 1.0)
    former = Former(stage)
    urls = [former.open("before")]
    with stage.playing():
        eventually(lambda: stage.opened() == urls, "it is opened")
        urls.append(former.open("at-that-moment"))
        if victim != "bridge":
            stage.send(victim, Poke())
            urls.append(former.open("after"))
            eventually(lambda: stage.opened() == urls, "the others, too")
    urls += [former.open("while-there-is-none")] if victim == "bridge" else []
    with stage.playing():
        stage.send("subscriber", SessionFileWritten())
        eventually(lambda: former.is_forgotten, "it is forgotten")
        assert stage.opened() == urls


def test_the_ledger_of_another_topic_is_taken_over(stage: Stage) -> None:
    path = stage.state / "other.ledger"
    former = Former(stage, ledger=os.fspath(path))
    handled = former.publish(wire.KIND_OPEN, url="http://example.com/handled", id="key")
    Ledger(os.fspath(path)).claim("open:key", handled)
    (stage.state / "other.lease").touch()
    url = former.open("not-yet")
    with stage.playing():
        eventually(lambda: stage.opened() == [url], "what was not handled is opened")
        stage.publish(wire.KIND_OPEN, url="http://example.com/handled", id="key")
        stage.serves()
        assert "http://example.com/handled" not in stage.opened()
    assert not path.exists()
    assert not (stage.state / "other.lease").exists()


def test_what_another_program_had_is_found_and_what_comes_is_done(stage: Stage) -> None:
    former = Former(stage, foreign="7 then")
    theirs = "http://example.com/theirs"
    former.publish(wire.KIND_OPEN, url=theirs)
    former.publish(wire.KIND_CLIP_WRITE, mime="text/plain", body=b"older")
    with stage.playing():
        url = former.open("ours")
        eventually(lambda: stage.opened() == [url], "it is opened")
        held = os.fspath(stage.state / "t.held")
        assert [(one.url, one.found) for one in held_urls.read(held)] == [(theirs, True)]
        assert [line["found"] for line in stage.log("topic-taken-over")] == [2]
        stage.serves()


def test_a_pinned_topic_that_was_never_used_is_begun_at_now(stage: Stage) -> None:
    stage.session = stage.session._replace(takeover="first")
    stage.publish(wire.KIND_OPEN, url="http://example.com/theirs", id=wire.new_id())
    for _ in range(2):
        with stage.playing():
            stage.serves()
            assert "http://example.com/theirs" not in stage.opened()
    assert [line["found"] for line in stage.log("topic-taken-over")] == [1]


def test_a_damaged_or_unreadable_list_stops_nothing(stage: Stage) -> None:
    path = Path(former_topics.path_of(stage.session.ledger))
    path.write_bytes(b"\xff{\n[]\n")
    with stage.playing():
        stage.serves()
    path.unlink()
    path.mkdir()
    with stage.playing():
        stage.serves()
        assert [line["err"] for line in stage.log("former-topics-failed")] == ["Is a directory"]
