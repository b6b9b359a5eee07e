"""The ledger's promise: what was claimed stays claimed, whatever is left of the file."""

from __future__ import annotations

import os
import signal
import stat
import string
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nssh.bus.ledger import Ledger
from nssh.bus.losses import Reach

ID = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return os.fspath(tmp_path / "ledger")


def test_what_a_process_left_that_was_killed_while_it_wrote_is_removed_by_the_next(path: str) -> None:
    Ledger(path).claim("a")
    left, other = Path(f"{path}.123.tmp"), Path(path).with_name("other.123.tmp")
    left.write_bytes(b"h a")
    other.write_bytes(b"")
    assert Ledger(path).seen("a")
    assert not left.exists()
    assert other.exists()


def test_a_claim_holds_once_here_and_in_the_next_process(path: str) -> None:
    ledger = Ledger(path)
    assert ledger.cursor is None
    assert ledger.claim("a")
    assert not ledger.claim("a")
    assert ledger.seen("a")
    assert not ledger.seen("b")
    ledger.set_cursor("a")
    again = Ledger(path)
    assert not again.claim("a")
    assert again.cursor == "a"
    assert not again.damaged


def test_the_file_is_private_from_the_start(path: str) -> None:
    old = os.umask(0)
    try:
        Ledger(path).claim("a")
    finally:
        os.umask(old)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_one_that_takes_over_reads_what_the_other_wrote_meanwhile(path: str) -> None:
    leader, standby = Ledger(path), Ledger(path)
    leader.claim("before")
    leader.claim("after")
    leader.set_cursor("after")
    standby.load()
    assert not standby.claim("after")
    assert standby.cursor == "after"


@given(ids=st.lists(ID, max_size=30), cut=st.integers(0, 400))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_at_any_byte_holds_a_prefix_of_what_was_claimed(path: str, ids: list[str], cut: int) -> None:
    Path(path).unlink(missing_ok=True)
    ledger = Ledger(path)
    ledger.load()
    for id_ in ids:
        ledger.claim(id_)
        ledger.set_cursor(id_)
    ledger.close()
    content = Path(path).read_bytes()[:cut]
    Path(path).write_bytes(content)
    rest = Ledger(path)
    held = [id_ for id_ in dict.fromkeys(ids) if rest.seen(id_)]
    assert held == list(dict.fromkeys(ids))[: len(held)]
    assert not rest.damaged
    # A cursor is one that was set, never a part of one, and what follows is read back whole.
    assert rest.cursor is None or rest.cursor in ids
    assert rest.claim("fresh-one")
    assert Ledger(path).seen("fresh-one")


@given(junk=st.binary(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_is_survived_and_what_is_whole_is_kept(path: str, junk: bytes) -> None:
    Path(path).unlink(missing_ok=True)
    ledger = Ledger(path)
    ledger.claim("kept")
    ledger.close()
    Path(path).write_bytes(Path(path).read_bytes() + junk + b"\nh also;\n")
    after = Ledger(path)
    assert not after.claim("kept")
    assert not after.claim("also")
    assert after.claim("fresh-one")
    assert after.failure is None


def test_damage_is_moved_aside(path: str) -> None:
    Path(path).write_bytes(b"h good;\nthis is; not ours;\nh ../../x;\n")
    ledger = Ledger(path)
    assert ledger.seen("good")
    assert ledger.damaged
    assert b"not ours" in Path(f"{path}.damaged").read_bytes()
    assert Path(path).read_bytes() == b"h good;\n"


def test_the_oldest_ids_are_forgotten_and_the_file_stays_small(path: str) -> None:
    ledger = Ledger(path, ring=100)
    for number in range(5000):
        assert ledger.claim(f"id{number}")
    assert not ledger.claim("id4999")
    assert ledger.seen("id4900")
    assert not ledger.seen("id4899")
    assert Path(path).stat().st_size < 20_000
    again = Ledger(path, ring=100)
    assert again.seen("id4900")
    assert not again.seen("id4899")


@pytest.mark.parametrize("odd", ["", "a b", "x\ny", "é", "\ud800", "x" * 100_000, ";", "\0"])
def test_ids_from_the_remote_may_be_anything(path: str, odd: str) -> None:
    ledger = Ledger(path)
    assert ledger.claim(odd)
    assert not ledger.claim(odd)
    again = Ledger(path)
    assert again.seen(odd)
    assert not again.seen(odd + "x")
    assert not again.damaged


def test_10000_claims_are_fast_and_each_is_on_disk(path: str) -> None:
    ledger = Ledger(path)
    begun = time.monotonic()
    for number in range(10_000):
        ledger.claim(f"{number:012}")
    seconds = time.monotonic() - begun
    print(f"10,000 claims: {seconds * 1000:.0f} ms")  # noqa: T201  (shown with -rP)
    assert all(Ledger(path).seen(f"{number:012}") for number in (0, 9999))
    assert Path(path).read_bytes().count(b"\n") == 10_000


def test_a_process_killed_at_any_moment_leaves_what_it_had_claimed(path: str) -> None:
    code = (
        "import itertools, sys; from nssh.bus.ledger import Ledger\n"
        "ledger = Ledger(sys.argv[1], ring=50)\n"
        "for number in itertools.count():\n"
        "    ledger.claim('id%d' % number); print(number, flush=True)\n"
    )
    for _ in range(5):
        Path(path).unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", code, path], stdout=subprocess.PIPE, cwd=CHECKOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= 1200:
                    break
            process.send_signal(signal.SIGKILL)
            # The last line that came whole.
            last = int([line.strip(), *process.stdout.read().split("\n")][-2])
        ledger = Ledger(path, ring=50)
        assert not ledger.damaged
        assert all(ledger.seen(f"id{number}") for number in range(last - 40, last + 1))


def test_a_full_disk_is_told_and_survived_in_memory_and_made_up_for(path: str) -> None:
    ledger = Ledger(path)
    ledger.claim("a")
    # A real limit: the kernel refuses to let any file of this process grow (EFBIG, as ENOSPC would).
    code = (
        "import resource, signal, sys; from nssh.bus.ledger import Ledger\n"
        "import nssh.bus.ledger as module; module._RETRY_SECONDS = 0.0\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "ledger = Ledger(sys.argv[1]); ledger.claim('b')\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12, hard))\n"
        "assert ledger.claim('c'); assert ledger.failure is not None; assert not ledger.claim('c')\n"
        "assert ledger.claim('d'); assert ledger.failure is not None\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "assert ledger.claim('e'); assert ledger.failure is None, ledger.failure\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    again = Ledger(path)
    assert all(again.seen(id_) for id_ in "abcde")
    assert not again.damaged


def test_a_directory_or_a_link_in_its_place_is_no_crash(path: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"somebody else's")
    Path(path).symlink_to(target)
    ledger = Ledger(path)
    assert ledger.claim("a")
    assert target.read_bytes() == b"somebody else's"
    assert Ledger(path).seen("a")


def test_a_missing_directory_is_told_and_the_state_goes_on_in_memory(tmp_path: Path) -> None:
    ledger = Ledger(os.fspath(tmp_path / "missing" / "ledger"))
    assert ledger.claim("a")
    assert not ledger.claim("a")
    assert ledger.failure is not None


def test_the_cursor_is_of_one_topic_and_what_was_handled_of_all(path: str) -> None:
    ledger = Ledger(path)
    ledger.follow("one")
    ledger.claim("a")
    ledger.set_cursor("a")
    ledger.set_reach(Reach(5, 6, 7))
    ledger.follow("one")
    assert ledger.cursor == "a"
    ledger.close()
    assert (ledger.cursor, ledger.reach) == ("a", Reach(5, 6, 7))
    ledger.follow("two")
    for each in (ledger, Ledger(path)):
        assert each.seen("a")
        assert (each.cursor, each.anchor, each.reach) == (None, None, Reach())
    again = Ledger(path)
    again.set_cursor("b")
    again.follow("two")
    assert Ledger(path).cursor == "b"
    assert b"two" not in Path(path).read_bytes(), "the name of a topic is a secret"


def test_a_cursor_of_no_topic_is_of_an_unknown_one(path: str) -> None:
    Ledger(path).set_cursor("a")
    ledger = Ledger(path)
    ledger.follow("one")
    assert ledger.cursor is None


def test_another_ledger_s_claims_are_adopted_once_and_its_file_goes(path: str) -> None:
    other = Ledger(f"{path}2")
    other.claim("theirs")
    other.set_cursor("theirs")
    other.close()
    ledger = Ledger(path)
    ledger.claim("ours")
    ledger.adopt(f"{path}2")
    assert not Path(f"{path}2").exists()
    ledger.adopt(f"{path}2")
    again = Ledger(path)
    assert again.seen("theirs")
    assert again.seen("ours")
    assert again.cursor is None
