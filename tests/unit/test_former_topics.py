"""The topics before a Replace: kept until they are forgotten, by whoever leads."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nssh.state import former_topics, topics
from nssh.state.former_topics import FormerTopic
from nssh.state.session_records import Record

KEY, SERVER = "me@h.example:22", "relay"


def record(topic: topics.Topic | str, *, foreign: bool = False, pid: int = 7) -> Record:
    name, serial = (topic, "") if isinstance(topic, str) else (topic.name, topic.serial)
    birth = "" if foreign else "b/1"
    return Record(
        pid=pid, target="h", host="h", topic=name, server=SERVER, started="2026-11-30T10:00:00Z", log="", birth=birth,
        key="" if foreign else KEY, serial=serial,
    )  # fmt: skip


def names(ledger: str, present: str = "") -> list[str]:
    return [one.name for one in former_topics.read(ledger, present)]


def test_a_replace_gives_a_fresh_topic_that_keeps_the_ledger_and_knows_the_one_before(state: Path) -> None:
    first = topics.obtain(KEY, SERVER)
    second = topics.succeed(KEY, SERVER, [record(first)])
    assert second.name != first.name
    assert second[1:] == first[1:], "ledger, lease and serial"
    assert topics.obtain(KEY, SERVER) == second
    third = topics.succeed(KEY, SERVER, [])  # the session had died
    assert names(third.ledger, third.name) == [first.name, second.name]
    for path in state.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_process_that_dies_between_the_two_files_leaves_nothing_that_is_read(state: Path) -> None:
    first = topics.obtain(KEY, SERVER)
    former_topics.add(first.ledger, [FormerTopic(first.name, int(time.time()))])
    assert names(first.ledger, first.name) == []


def test_a_target_that_never_had_a_topic_has_no_former_ones(state: Path) -> None:
    topic = topics.succeed(KEY, SERVER, [])
    assert names(topic.ledger, topic.name) == []
    assert not list(state.rglob("*.former"))


def test_the_topic_of_another_serial_brings_its_ledger(state: Path) -> None:
    first = topics.obtain(KEY, SERVER)
    second = topics.obtain(KEY, SERVER, fresh=True)
    third = topics.succeed(KEY, SERVER, [record(first), record(second)])
    assert third.serial == second.serial
    ledgers = {one.name: one.ledger for one in former_topics.read(third.ledger, third.name)}
    assert ledgers == {first.name: first.ledger, second.name: ""}


def test_a_topic_that_another_program_shared_is_that_program_s(state: Path) -> None:
    ours = topics.obtain(KEY, SERVER, joined=("nssh_theirs", ""))
    topic = topics.succeed(KEY, SERVER, [record("nssh_theirs", foreign=True, pid=9), record(ours)])
    [former] = former_topics.read(topic.ledger, topic.name)
    assert (former.name, former.foreign) == ("nssh_theirs", "9 2026-11-30T10:00:00Z")


def test_marked_once_removed_one_by_one_and_the_file_goes_with_the_last(state: Path) -> None:
    topic = topics.obtain(KEY, SERVER)
    now = int(time.time())
    former_topics.add(topic.ledger, [FormerTopic("a", now), FormerTopic("b", now, unnamed=5)])
    former_topics.add(topic.ledger, [FormerTopic("a", now - 1)])
    former_topics.mark_unnamed(topic.ledger)
    first, second = former_topics.read(topic.ledger, "")
    assert first.since == now
    assert first.unnamed >= now
    assert second.unnamed == 5
    former_topics.remove(topic.ledger, "a")
    former_topics.remove(topic.ledger, "never there")
    assert names(topic.ledger) == ["b"]
    former_topics.remove(topic.ledger, "b")
    assert not list(state.rglob("*.former"))


def test_what_is_old_is_forgotten(state: Path) -> None:
    topic = topics.obtain(KEY, SERVER)
    now = int(time.time())
    former_topics.add(topic.ledger, [FormerTopic("old", now - int(former_topics.OLD) - 1), FormerTopic("new", now)])
    assert names(topic.ledger) == ["new"]


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "7", '{"name": 1, "since": 2}', '{"name": "a"}', '{"name": "a/b", "since": 9e9}', "[" * 9999,
     '{"name": "a", "since": "2"}', '{"name": "a", "since": true}', '{"name": "", "since": 9000000000}',
     '{"name": "a", "since": 9000000000, "other": 1}', '{"name": "a", "since": 9000000000, "unnamed": null}'],
)  # fmt: skip
def test_a_damaged_line_is_passed_over(state: Path, line: str) -> None:
    topic = topics.obtain(KEY, SERVER)
    former_topics.add(topic.ledger, [FormerTopic("kept", int(time.time()))])
    path = Path(former_topics.path_of(topic.ledger))
    path.write_text(line + "\n" + path.read_text())
    assert names(topic.ledger) == ["kept"]


@given(junk=st.binary(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_read(state: Path, junk: bytes) -> None:
    topic = topics.obtain(KEY, SERVER)
    Path(former_topics.path_of(topic.ledger)).write_bytes(junk)
    former_topics.read(topic.ledger, "")
    former_topics.add(topic.ledger, [FormerTopic("kept", int(time.time()))])
    assert "kept" in names(topic.ledger)


def test_a_link_in_its_place_is_not_followed(state: Path, tmp_path: Path) -> None:
    topic = topics.obtain(KEY, SERVER)
    other = tmp_path / "other"
    other.write_text("mine")
    Path(former_topics.path_of(topic.ledger)).symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        former_topics.read(topic.ledger, "")
    former_topics.add(topic.ledger, [FormerTopic("kept", int(time.time()))])
    assert other.read_text() == "mine"
    assert names(topic.ledger) == ["kept"]
    assert not os.path.islink(former_topics.path_of(topic.ledger))
