"""Answers on their way out, and files on their way in, while the bus or an actor fails."""

from __future__ import annotations

import time
from typing import Any

import pytest

from nssh.base.errors import BusError
from nssh.bus.client import BusClient
from nssh.bus.upload import Upload
from nssh.wire import envelope as wire
from tests.supervision.support import eventually
from tests.tree.stage import Faults, InjectedError, Poke, Stage, await_idle

pytestmark = pytest.mark.real


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
        original = BusClient.download_to

        def download(client: BusClient, *args: Any, **options: Any) -> None:
            self.tried += 1
            if self.fails:
                raise BusError("the files are elsewhere", kind)
            return original(client, *args, **options)

        patch.setattr(BusClient, "download_to", download)


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


def test_who_waits_for_a_large_answer_is_told_that_it_moves(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Upload.read

    def slow(upload: Upload, size: int = -1) -> bytes:
        time.sleep(0.15)
        return original(upload, size)

    monkeypatch.setattr(Upload, "read", slow)
    text = "large" * 60_000
    with stage.playing():
        stage.write(text)
        asked = stage.ask(wire.KIND_CLIP_READ_REQUEST, mime="text/plain")
        eventually(lambda: stage.answers(wire.KIND_CLIP_READ_RESPONSE, asked), "the read is answered")
        assert stage.answers(wire.KIND_CLIP_READ_RESPONSE, asked)[0].body == text.encode()
        # Twenty pieces, three seconds: a word a second, while it goes on.
        assert 1 <= len(stage.answers(wire.KIND_CLIP_READ_PENDING, asked)) <= 5
