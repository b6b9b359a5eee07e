from __future__ import annotations

import json
import os
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from nssh.log import event_log
from nssh.log.event_log import EventLog
from nssh.log.log_reader import LONGEST, LogFile, when


def line(number: int, ts: str = "2026-07-01T10:00:00.000000Z", **fields: object) -> bytes:
    return json.dumps({"ts": ts, "event": "e", "number": number, **fields}).encode() + b"\n"


def numbers(lines: object) -> list[int]:
    return [json.loads(one)["number"] for one in lines]  # type: ignore[attr-defined]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def rotate(path: Path) -> None:
    path.replace(f"{path}.1")


def append(path: Path, *data: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(data))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b'{"ts":"1970-01-01T00:00:01.5Z"}', 1.5),
        (b'{"ts": "1970-01-01T00:00:01.123456789Z", "event": "x"}', 1.123456),
        (b'{"ts": "1970-01-01T01:00:01+01:00"}', 1.0),
        (b'{"ts": "1970-01-01T00:00:01"}', 1.0),
        (b'{"ts": "1970-01-01T00:00"}', 0.0),
        (b'{"ts": "yesterday at noon"}', None),
        (b'{"ts": "9999-99-99T00:00:00Z"}', None),
        (b'{"ts": "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}', None),
        (b'{"ts": 5}', None),
        (b"", None),
    ],
)
def test_when_an_event_was(text: bytes, seconds: float | None) -> None:
    assert when(text) == pytest.approx(seconds)


def test_nothing_is_read_before_it_is_whole_and_nothing_twice(path: Path) -> None:
    log = LogFile(os.fspath(path))
    assert list(log.lines()) == []
    append(path, line(1)[:9])
    assert list(log.lines()) == []
    append(path, line(1)[9:], line(2))
    assert numbers(log.lines()) == [1, 2]
    assert list(log.lines()) == []


def test_what_was_there_before_a_rotation_and_between_two_looks(path: Path) -> None:
    log = LogFile(os.fspath(path))
    append(path, line(1))
    rotate(path)
    append(path, line(2))
    assert numbers(log.lines()) == [1, 2]
    append(path, line(3))
    rotate(path)
    assert numbers(log.lines()) == [3], "the next file is not there yet"
    append(path, line(4))
    assert numbers(log.lines()) == [4]


def test_two_rotations_between_two_looks_lose_nothing(path: Path) -> None:
    log = LogFile(os.fspath(path))
    append(path, line(1))
    assert numbers(log.lines()) == [1]
    append(path, line(2))
    rotate(path)
    append(path, line(3))
    rotate(path)
    assert numbers(log.lines()) == [2, 3], "the first file is removed, and still held open"
    append(path, line(4))
    assert numbers(log.lines()) == [4]


def test_three_rotations_lose_only_what_exists_no_more(path: Path) -> None:
    log = LogFile(os.fspath(path))
    append(path, line(1))
    assert numbers(log.lines()) == [1]
    for number in (2, 3, 4):
        append(path, line(number))
        rotate(path)
    append(path, line(5))
    assert numbers(log.lines()) == [2, 4, 5]


def test_every_line_once_whenever_one_looks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real writer: looks at random moments, at most one rotation or two between them."""
    monkeypatch.setattr(event_log, "ROTATE_AT", 600)
    seed = random.randrange(1 << 32)  # noqa: S311  (no secret)
    print(f"seed {seed}")  # noqa: T201  (shown when it fails)
    chance = random.Random(seed)  # noqa: S311  (repeatable)
    for start in ("beginning", "last", "time"):
        where = os.fspath(path.with_name(f"{start}.jsonl"))
        writer, log = EventLog(where), LogFile(where)
        if start == "last":
            log.from_last(5)
        elif start == "time":
            log.from_time(0.0)
        seen: list[int] = []
        for number in range(1, 2000):
            writer.write("e", {"number": number})
            if chance.random() < 0.2 or number % 8 == 0:
                seen += numbers(log.lines())
        seen += numbers(log.lines())
        assert seen == list(range(1, 2000))
        log.close()


def test_a_log_that_was_emptied_is_read_from_its_beginning(path: Path) -> None:
    log = LogFile(os.fspath(path))
    append(path, line(1), line(2))
    assert numbers(log.lines()) == [1, 2]
    path.write_bytes(b"")
    append(path, line(3))
    assert numbers(log.lines()) == [3]


def test_a_line_without_an_end_costs_no_memory_and_not_the_next_ones(path: Path) -> None:
    log = LogFile(os.fspath(path))
    append(path, line(1), b"x" * (LONGEST // 2))
    assert numbers(log.lines()) == [1]
    append(path, b"x" * (20 << 20))
    tracemalloc.start()
    (beginning,) = log.lines()
    assert tracemalloc.get_traced_memory()[1] < 8 * LONGEST
    tracemalloc.stop()
    assert beginning == b"x" * len(beginning)
    assert len(beginning) < 5000
    append(path, b"more of it\n", line(2))
    assert numbers(log.lines()) == [2]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_no_log(path: Path, make: object) -> None:
    make(path)  # type: ignore[operator]
    assert list(LogFile(os.fspath(path)).lines()) == []


# Looking back.


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 100])
def test_the_last_events_also_across_a_rotation(path: Path, count: int) -> None:
    append(path, *(line(number) for number in range(4)))
    rotate(path)
    append(path, *(line(number) for number in range(4, 7)), b"half")
    log = LogFile(os.fspath(path))
    log.from_last(count)
    assert numbers(log.lines()) == list(range(7))[7 - min(7, count) :]


@pytest.mark.parametrize("wanted", [0, 1, 2, 999, 1000, 1500, 1999, 2000])
def test_events_since_a_time_also_across_a_rotation(path: Path, wanted: int) -> None:
    """A second between two events, and lines long enough for many blocks."""
    stamps = [f"2026-07-01T{10 + n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(2000)]
    lines = [line(n, stamps[n], filler="x" * (n % 500)) for n in range(2000)]
    append(path, *lines[:1000])
    rotate(path)
    append(path, *lines[1000:])
    log = LogFile(os.fspath(path))
    log.from_time((when(lines[0]) or 0) + wanted)
    assert numbers(log.lines()) == list(range(2000))[wanted:]
    append(path, line(9999, "1999-01-01T00:00:00Z"))
    assert numbers(log.lines()) == ([9999] if wanted < 2000 else []), "the clock was set back: news all the same"


def test_lines_that_tell_no_time_do_not_stop_the_search(path: Path) -> None:
    append(path, *(line(n, f"2026-07-01T10:00:{n:02}Z") + b"no event\n[]\n" for n in range(60)))
    log = LogFile(os.fspath(path))
    log.from_time((when(line(0)) or 0) + 57)
    assert list(log.lines())[0::3] == [line(n, f"2026-07-01T10:00:{n:02}Z")[:-1] for n in (57, 58, 59)]


def test_a_log_of_100_mib_is_neither_read_nor_kept_whole(path: Path) -> None:
    day = "".join(
        line(n, f"2026-07-{1 + n // 86400:02}T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z", x="y" * 900).decode()
        for n in range(100_000)
    ).encode()
    path.write_bytes(day)
    assert path.stat().st_size > 90 << 20
    del day
    log = LogFile(os.fspath(path))
    begun = time.process_time()
    tracemalloc.start()
    log.from_time((when(line(0, "2026-07-01T00:00:00Z")) or 0) + 99_990)
    assert numbers(log.lines()) == list(range(99_990, 100_000))
    log.from_last(3)
    assert numbers(log.lines()) == [99_997, 99_998, 99_999]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert time.process_time() - begun < 1
    # All of it, should somebody ask for that: as a stream.
    log.from_time(0.0)
    tracemalloc.start()
    assert sum(1 for _ in log.lines()) == 100_000
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    log.close()


def test_a_mark_is_found_again_after_a_rotation_and_a_removed_file_is_not_believed(path: Path) -> None:
    log = LogFile(os.fspath(path))
    assert log.mark() is None
    append(path, line(1))
    assert numbers(log.lines()) == [1]
    mark = log.mark()
    assert mark is not None
    log.close()
    append(path, line(2))
    rotate(path)
    append(path, line(3))
    log.from_mark(*mark)
    assert numbers(log.lines()) == [2, 3]
    log.close()
    log.from_mark(mark[0] + 10**9, mark[1])
    assert numbers(log.lines()) == [1, 2, 3]
