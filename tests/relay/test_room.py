"""A spool that is full of old answers makes room; what nobody has had yet is kept."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from nssh.relay import store as spool
from nssh.relay.store import Store, TooLargeError
from nssh.wire import RETENTION
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 1000


def put(store: Store, kind: str, url: str = "") -> str:
    upload = store.upload()
    try:
        upload.write(b"x" * SIZE)
    except TooLargeError:
        upload.abort()
        raise
    upload.close()
    text = wire.encode(wire.Envelope(kind, url, "image/png", id=wire.new_id()))
    line = store.publish("t", text, upload, "clip.png", "image/png|.png")
    return str(json.loads(line)["id"])


def test_old_answers_make_room_and_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "relay"), RETENTION, 3 * SIZE)
    misleading = 'https://x.y/"kind":"clip-read-response"'
    write = put(store, wire.KIND_CLIP_WRITE, url=misleading)
    answers = [put(store, wire.KIND_CLIP_READ_RESPONSE) for _ in range(2)]
    with pytest.raises(TooLargeError):
        put(store, wire.KIND_CLIP_WRITE)  # they may be on their way still
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + spool.ANSWERED + 2)
    new = put(store, wire.KIND_CLIP_WRITE)
    assert store.open_file(answers[0]) is None
    for identity in (write, answers[1], new):
        assert store.open_file(identity) is not None
    lines, _, _ = store.fetch("t", 0, store.last)
    assert [json.loads(line)["id"] for line in lines] == [write, *answers, new], "a cursor may stand on any of them"
    last = put(store, wire.KIND_CLIP_WRITE)
    with pytest.raises(TooLargeError):
        put(store, wire.KIND_CLIP_WRITE)
    store.close()
    again = Store(str(tmp_path / "relay"), RETENTION, 3 * SIZE)
    for identity in (write, new, last):
        assert again.open_file(identity) is not None
    with pytest.raises(TooLargeError):
        put(again, wire.KIND_CLIP_WRITE)
    again.close()
