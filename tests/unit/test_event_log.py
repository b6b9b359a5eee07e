from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.log import event_log
from nssh.log.event_log import EventLog, prune

DAY = 86400.0
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False), st.lists(st.text(), max_size=2)
)
FIELDS = st.dictionaries(st.sampled_from(["kind", "mime", "exit", "mosh", "size", "err", "id"]), VALUES)


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(str(tmp_path / "log.jsonl"))


def read(path: str | Path) -> list[dict[str, Any]]:
    """Return the events of a log, which must be whole lines of JSON."""
    data = Path(path).read_bytes()
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def test_an_event_says_when_what_who(log: EventLog) -> None:
    log.write("msg-recv", {"kind": "open", "url": "https://example.com", "size": 5})
    [event] = read(log.path)
    assert event.pop("ts").endswith("Z")
    assert event == {
        "event": "msg-recv",
        "side": "session",
        "pid": os.getpid(),
        "kind": "open",
        "url": "https://example.com",
        "size": 5,
    }
    EventLog(log.path, "session-init").write("session-open", {})
    assert read(log.path)[1]["side"] == "session-init"


def test_the_time_is_utc_with_microseconds(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        log.write("a", {})
    finally:
        monkeypatch.undo()
        time.tzset()
    told = read(log.path)[0]["ts"]
    assert len(told) == len("2026-07-01T10:00:00.123456Z")
    assert abs(datetime.fromisoformat(told).timestamp() - time.time()) < 3600


@given(fields=FIELDS)
def test_zero_values_are_left_out_but_exit_and_mosh_are_kept(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, object]
) -> None:
    log = EventLog(str(tmp_path_factory.mktemp("log") / "log"))
    log.write("session-end", fields)
    [event] = read(log.path)
    told = {key: event[key] for key in event if key not in {"ts", "event", "side", "pid"}}
    assert told == {key: value for key, value in fields.items() if value or key in {"exit", "mosh"}}


def test_it_is_private_from_its_making_and_after_a_rotation(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "ROTATE_AT", 500)
    before = os.umask(0)
    try:
        for number in range(20):
            log.write("e", {"number": number})
            for path in Path(log.path).parent.iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_symlink_is_never_followed(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"")
    Path(log.path).symlink_to(tmp_path / "precious")
    log.write("a", {})
    assert (tmp_path / "precious").read_bytes() == b""


def test_it_is_rotated_by_size_and_loses_only_what_is_older_than_two_files(log: EventLog, tmp_path: Path) -> None:
    text = "x" * 10_000
    for number in range(250):
        log.write("e", {"number": number + 1, "text": text})
    old, new = read(log.path + ".1"), read(log.path)
    numbers = [event["number"] for event in old + new]
    assert numbers == list(range(251 - len(numbers), 251))
    assert event_log.ROTATE_AT < Path(log.path + ".1").stat().st_size < event_log.ROTATE_AT + 20_000
    assert Path(log.path).stat().st_size < event_log.ROTATE_AT + 20_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "log.jsonl.1"]


def test_a_rotation_that_fails_costs_no_line(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "ROTATE_AT", 200)
    os.mkdir(log.path + ".1")
    for number in range(1, 20):
        log.write("e", {"number": number})
    assert [event["number"] for event in read(log.path)] == list(range(1, 20))


def test_a_full_disk_costs_lines_and_their_number_is_told_later(log: EventLog) -> None:
    log.write("first", {})
    room = os.stat(log.path).st_size + 60
    code = (
        "import resource, sys; from nssh.log.event_log import EventLog\n"
        f"log = EventLog(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))\n"
        "for n in range(5): log.write('lost', {'n': n})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.write('after', {}); log.write('again', {})\n"
    )
    subprocess.run([sys.executable, "-c", code, log.path], check=True)
    events = read(log.path)
    assert [event["event"] for event in events] == ["first", "log-lost", "after", "again"]
    assert events[1]["lines"] == 5


@pytest.mark.parametrize("path", ["/dev/full", "/nonexistent/log", "/proc/version"])
def test_a_place_that_takes_nothing_never_raises(path: str) -> None:
    log = EventLog(path)
    for number in range(10):
        log.write("e", {"number": number})
    assert log._lost == 10


def test_what_is_no_json_is_written_as_its_text(log: EventLog) -> None:
    log.write("e", {"err": OSError(2, "gone"), "path": Path("/x"), "raw": "\udcff\n"})
    [event] = read(log.path)
    assert (event["err"], event["path"], event["raw"]) == ("[Errno 2] gone", "/x", "\udcff\n")


# Old logs.


def old(path: Path, age: float, content: bytes = b"{}\n") -> Path:
    path.write_bytes(content)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_old_logs_are_removed_and_those_in_use_stay_with_what_belongs_to_them(tmp_path: Path) -> None:
    stays = [
        old(tmp_path / "new.jsonl", 9 * DAY),
        old(tmp_path / "used.jsonl", 99 * DAY),
        old(tmp_path / "used.jsonl.1", 99 * DAY),
        old(tmp_path / "used.jsonl.err", 99 * DAY, b""),
        old(tmp_path / "recent.jsonl.err", DAY / 2, b""),
        old(tmp_path / "told.jsonl.err", 5 * DAY, b"Traceback"),
        old(tmp_path / "future.jsonl", -99 * DAY),
    ]
    for name in ("old.jsonl", "old.jsonl.1", "old.jsonl.err"):
        old(tmp_path / name, 11 * DAY, b"x")
    old(tmp_path / "empty.jsonl.err", 2 * DAY, b"")
    assert prune(str(tmp_path), 10 * DAY, {str(tmp_path / "used.jsonl"), "/elsewhere"}) == 4
    assert sorted(tmp_path.iterdir()) == sorted(stays)


def test_only_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    then = (datetime.now().astimezone() - timedelta(days=99)).timestamp()
    os.utime(tmp_path / "directory", (then, then))
    os.utime(tmp_path / "link", (then, then), follow_symlinks=False)
    assert prune(str(tmp_path), DAY, set()) == 0
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("directory", ["/nonexistent/logs", "/dev/null"])
def test_a_directory_that_can_not_be_read_is_nothing_to_prune(directory: str) -> None:
    assert prune(directory, DAY, set()) == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a directory from which not even root can remove")
def test_what_can_not_be_removed_stays_and_is_no_error() -> None:
    assert prune("/proc/self", 0.0, set()) == 0
    assert os.path.exists("/proc/self/status")
