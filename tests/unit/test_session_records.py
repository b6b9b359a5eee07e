from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base import process
from nssh.state import session_records
from nssh.state.session_records import Record, StartLock

if TYPE_CHECKING:
    from collections.abc import Iterator

GO = {
    "pid": 0,
    "target": "me@10.0.0.5",
    "host": "10",
    "topic": "nssh_x",
    "server": "https://ntfy.sh",
    "started": "2026-07-01T10:00:00.123456789Z",
    "log": "/home/me/log",
}


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as started:
        yield started
        started.kill()


@pytest.fixture
def directory(state: Path) -> Path:
    path = Path(session_records.directory())
    assert path == state / "sessions"
    return path


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != "lock")


def record(pid: int, **fields: Any) -> Record:
    return Record(pid, "t", "h", "topic", "relay", "2026-01-01T00:00:00Z", "/log", birth=process.birth(pid))._replace(
        **fields
    )


TEXT = st.text(max_size=20)
RECORDS = st.builds(
    Record,
    st.integers(1, 2**22),
    *[TEXT] * 6,
    create_time=st.floats(0, 1e12),
    birth=TEXT,
    key=TEXT,
    socket=TEXT,
    role=TEXT,
    bus=TEXT,
    bridge=st.integers(0, 2**22),
    restarts=st.integers(0, 99),
    held=st.integers(0, 99),
    problem=TEXT,
)


@given(made=RECORDS)
def test_what_is_written_is_read(made: Record, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "records"))
        session_records.write(made)
        assert session_records.read(session_records.path_of(made.pid)) == made
        content = json.loads(Path(session_records.path_of(made.pid)).read_bytes())
        assert all(value or name in {"pid", "restarts"} for name, value in content.items())


def test_it_is_private(directory: Path, child: subprocess.Popen[bytes]) -> None:
    before = os.umask(0)
    try:
        session_records.write(record(child.pid))
    finally:
        os.umask(before)
    assert [path.name for path in directory.iterdir()] == [f"{child.pid}.json"]
    assert stat.S_IMODE(os.stat(session_records.path_of(child.pid)).st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_record_of_the_go_program_is_understood(directory: Path, child: subprocess.Popen[bytes]) -> None:
    """It tells no birth: a process younger than its record is another one, under a PID that was reused."""
    started = datetime.now(UTC).isoformat().replace("+00:00", "789Z")  # nanoseconds, as Go writes them
    path = directory / f"{child.pid}.json"
    path.write_text(json.dumps({**GO, "pid": child.pid, "started": started}, indent=2))
    [found] = session_records.live()
    assert found == Record(child.pid, "me@10.0.0.5", "10", "nssh_x", "https://ntfy.sh", started, "/home/me/log")
    assert found.foreign
    path.write_text(json.dumps({**GO, "pid": child.pid}))
    assert session_records.live() == []
    assert left(directory) == []
    assert child.poll() is None
    path.write_text(json.dumps({**GO, "pid": child.pid, "started": started}))
    child.kill()
    child.wait()
    assert session_records.live() == []
    assert left(directory) == []


def test_the_live_are_told_oldest_first(directory: Path) -> None:
    children = [subprocess.Popen(["sleep", "1000"]) for _ in range(4)]
    try:
        times = ["2026-03-01T00:00:00Z", "2025-12-31T23:59:59Z", "2026-03-01T00:00:00.5Z", "2026-02-01T00:00:00Z"]
        for child, started in zip(children, times, strict=True):
            session_records.write(record(child.pid, started=started))
        assert [found.pid for found in session_records.live()] == [children[number].pid for number in (1, 3, 0, 2)]
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_the_dead_and_the_reused_are_removed_with_their_sockets(
    directory: Path, child: subprocess.Popen[bytes]
) -> None:
    """A PID that is another process by now is as good as gone; and that process is left alone."""
    for pid in (2**22 + 7, child.pid):
        (directory / f"{pid}.sock").write_bytes(b"")
        session_records.write(record(pid, birth="otherboot/1"))
    assert session_records.live() == []
    assert left(directory) == []
    assert child.poll() is None


def test_a_socket_without_a_record_goes_with_its_process(directory: Path, child: subprocess.Popen[bytes]) -> None:
    """Whoever was about to remove both was killed in between, or makes its record next."""
    for name in (str(2**22 + 7), str(child.pid), "x", "²"):
        (directory / f"{name}.sock").write_bytes(b"")
    assert session_records.live() == []
    assert left(directory) == sorted([f"{child.pid}.sock", "x.sock", "².sock"])


def test_a_record_that_claims_to_be_another_is_removed(directory: Path, child: subprocess.Popen[bytes]) -> None:
    """It may even be that of a session that lives, copied: there is one for each, under its own PID."""
    own = record(os.getpid())
    session_records.write(own)
    (directory / f"{os.getpid()}.json").rename(directory / f"{child.pid}.json")
    assert session_records.live() == []
    assert left(directory) == []
    session_records.write(own)
    assert session_records.live() == [own]


@pytest.mark.parametrize(
    "name", ["x.json", "1.json.tmp", "1.txt", "-1.json", "²³.json", "0x1.json", ".json", "9" * 200 + ".json"]
)
def test_other_files_are_left_alone(directory: Path, name: str) -> None:
    (directory / name).write_text("{}")
    assert session_records.live() == []
    assert (directory / name).exists() != name.startswith("9")


WRONG: list[Any] = [None, "text", 5, -1, 0.5, True, [], {}, 10**400, [[[[]]]], "\x00", "x" * 1000]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(value)[:10])
def test_a_value_of_another_type_counts_as_missing(directory: Path, child: subprocess.Popen[bytes], value: Any) -> None:
    content = dict.fromkeys(Record._fields, value) | {
        "pid": child.pid,
        "birth": process.birth(child.pid),
        "new": value,
    }
    path = directory / f"{child.pid}.json"
    path.write_text(json.dumps(content))
    found = session_records.read(str(path))
    assert found is not None
    missing = Record(0, "", "", "", "", "", "")
    for name, got in found._asdict().items():
        assert type(got) is type(getattr(missing, name))
        if name not in {"pid", "birth"}:
            assert got in {value if type(value) in {str, int, float} else None, getattr(missing, name)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"pid": 0}',
        b'{"pid": -5}',
        b'{"pid": "7"}',
        b"{}",
        b"[" * 60_000,
        b'"' + b"x" * 10**6,
    ],
    ids=lambda content: str(content[:20]),
)
def test_what_is_no_record_is_none_and_removed_when_nobody_can_be_writing_it(
    directory: Path, child: subprocess.Popen[bytes], content: bytes
) -> None:
    dead, alive = directory / f"{2**22 + 7}.json", directory / f"{child.pid}.json"
    for path in (dead, alive):
        path.write_bytes(content)
        assert session_records.read(str(path)) is None
    assert session_records.live() == []
    assert (dead.exists(), alive.exists()) == (False, True)


def test_a_record_larger_than_any_of_ours_is_not_read_into_memory(
    directory: Path, child: subprocess.Popen[bytes]
) -> None:
    path = directory / f"{child.pid}.json"
    path.write_text(json.dumps({**GO, "pid": child.pid}) + " " * (1 << 17))
    assert session_records.read(str(path)) is None
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert session_records.read(str(path)) is None


def test_nothing_there(state: Path) -> None:
    assert session_records.live() == []
    assert session_records.read(str(state / "sessions" / "1.json")) is None
    session_records.remove(1)
    assert not state.exists()


def test_removal_takes_record_and_socket(directory: Path, child: subprocess.Popen[bytes]) -> None:
    """And no other file, whatever the record calls its socket."""
    other = directory / "s.sock"
    for path in (other, directory / f"{child.pid}.sock"):
        path.write_bytes(b"")
    session_records.write(record(child.pid, socket=str(other)))
    session_records.remove(child.pid)
    session_records.remove(child.pid)
    assert left(directory) == ["s.sock"]


def test_what_is_ignored_is_told_with_the_reason(directory: Path, child: subprocess.Popen[bytes]) -> None:
    path = directory / f"{child.pid}.json"
    for make, reason in (
        (lambda: path.write_bytes(b""), "empty"),
        (lambda: path.write_bytes(b'{"pid":'), "not a record"),
        (lambda: path.write_bytes(b"x" * (1 << 17)), "not a record"),
        (lambda: os.mkfifo(path), "not a file of your own"),
        (path.mkdir, "not a file of your own"),
        (lambda: path.symlink_to("/etc/passwd"), "Too many levels of symbolic links"),
    ):
        make()
        assert session_records.survey() == ([], [session_records.Ignored(path.name, reason)])
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_record_of_somebody_else_is_ignored(directory: Path, child: subprocess.Popen[bytes]) -> None:
    if os.geteuid():
        pytest.skip("needs root, to make a file of another account")
    session_records.write(record(child.pid))
    os.chown(session_records.path_of(child.pid), 12345, 12345)
    assert session_records.survey() == ([], [session_records.Ignored(f"{child.pid}.json", "not a file of your own")])
    assert left(directory) == [f"{child.pid}.json"]


def test_one_start_at_a_time(directory: Path) -> None:
    """Eight processes read a number, wait, and write the next one: with a lock none is lost."""
    counter = directory / "counter"
    counter.write_text("0")
    code = (
        "import sys, time; from pathlib import Path; from nssh.state.session_records import StartLock\n"
        "with StartLock():\n"
        "    path = Path(sys.argv[1]); seen = int(path.read_text()); time.sleep(0.02); path.write_text(str(seen + 1))"
    )
    starts = [subprocess.Popen([sys.executable, "-c", code, str(counter)]) for _ in range(8)]
    assert [start.wait(30) for start in starts] == [0] * 8
    assert counter.read_text() == "8"


def test_a_suspended_start_holds_nobody_up(directory: Path) -> None:
    code = "from nssh.state.session_records import StartLock\nwith StartLock(): print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        with StartLock():
            pass
        holder.kill()


def test_nothing_is_removed_while_somebody_starts(directory: Path) -> None:
    """It may bear the PID that the stale record is of, and have written its own since."""
    session_records.write(record(2**22 + 7, birth="x/1"))
    with StartLock():
        assert session_records.live() == []
        assert left(directory) == [f"{2**22 + 7}.json"]
    assert session_records.live() == []
    assert left(directory) == []
