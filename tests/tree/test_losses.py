"""What can't be had any more is told to the user, and holds nobody up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import BusError
from nssh.bus.client import BusClient
from nssh.bus.ledger import Ledger
from nssh.bus.losses import Reach
from nssh.wire import envelope as wire
from tests.supervision.support import eventually
from tests.tree.stage import Faults, Poke, Stage

if TYPE_CHECKING:
    from nssh.bus.messages import Message

pytestmark = pytest.mark.real


def test_an_outage_that_was_too_long_is_told_in_the_record_and_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults("session_registry", monkeypatch)
    with stage.playing():
        stage.serves()
        assert (stage.record().lost, stage.log("messages-lost")) == ("", [])
    away = int(time.time()) - 30 * 3600
    ledger = Ledger(stage.session.ledger)
    ledger.set_reach(Reach(away, ledger.reach.retention, ledger.reach.newest))
    ledger.close()
    with stage.playing():
        eventually(lambda: stage.record().lost, "the user is told")
        (event,) = stage.log("messages-lost")
        assert event["reason"] == "expired"
        assert event["since"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(away))
        assert event["until"] > event["since"]
        told = stage.record()
        assert "the bus keeps messages for 12h0m0s" in told.lost
        assert told.problem == "", "nothing that is wrong now"
        # It is not forgotten with whoever wrote it down.
        stage.send("session_registry", Poke())
        stage.serves()
        eventually(lambda: stage.record().lost == told.lost, "it is still told")
        assert stage.record().lost_at == told.lost_at
        assert faults.struck == []
    with stage.playing():
        stage.serves()
        assert len(stage.log("messages-lost")) == 1, "noticed once"
        eventually(lambda: stage.record().lost == told.lost, "told by the next bridge, too")
        assert stage.record().lost_at == told.lost_at
    ledger = Ledger(stage.session.ledger)
    ledger.set_lost(int(time.time()) - 25 * 3600, told.lost)
    ledger.close()
    with stage.playing():
        stage.serves()
        assert stage.record().lost == "", "no longer than a day"


def test_a_write_whose_file_is_gone_is_told_and_what_follows_is_served(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage.playing():
        with monkeypatch.context() as patch:
            patch.setattr(BusClient, "_find_file", lambda *_: None)
            lost = stage.write("x" * 5000)
            eventually(lambda: stage.log("file-lost"), "it is noticed")
        eventually(lambda: "does not have its file any more" in stage.record().lost, "the user is told")
        assert [event["id"] for event in stage.log("file-lost")] == [lost]
        assert stage.record().problem == ""
        stage.serves()


def test_a_long_text_whose_file_is_gone_is_told_and_what_follows_is_served(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_text = BusClient.full_text

    def lose(client: BusClient, message: Message) -> str:
        if "long ago" in message.text:
            raise BusError("the bus does not have this file (any more)", "gone")
        return full_text(client, message)

    monkeypatch.setattr(BusClient, "full_text", lose)
    lost = stage.publish(wire.KIND_OPEN, url="http://example.com/long ago", id="x")
    with stage.playing():
        stage.serves()
        assert [event["id"] for event in stage.log("file-lost")] == [lost]
        eventually(lambda: "is lost" in stage.record().lost, "the user is told")


def test_an_old_file_that_is_gone_costs_no_time(stage: Stage) -> None:
    """Only the file of a message that was just sent may still come."""
    client = BusClient(stage._server)
    sent = client.publish(stage.topic, "x")
    assert client.patience(sent.time) == 2.0
    assert client.patience(sent.time - 3600) == 0.0
    begun = time.monotonic()
    for _ in range(20):
        try:
            client.download(sent.id, patience=client.patience(sent.time - 3600))
        except BusError as error:
            assert error.kind == "gone"  # noqa: PT017 - twenty times
    assert time.monotonic() - begun < 20
    client.close()
