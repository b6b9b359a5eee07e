from __future__ import annotations

import os
import stat
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.state import topics
from nssh.state.lease import Lease
from nssh.state.topics import Topic, file_name, new_name, obtain

KEY, SERVER = "me@h.example:22", "relay"
DAY = 86400.0


def the_file(state: Path) -> Path:
    [path] = (state / "topics").glob("*.json")
    return path


def test_the_same_target_keeps_its_topic_and_others_have_their_own(state: Path) -> None:
    topic = obtain(KEY, SERVER)
    assert obtain(KEY, SERVER) == topic
    others = [obtain("you@h.example:22", SERVER), obtain(KEY, "https://ntfy.sh"), obtain(KEY + "2", SERVER)]
    for part in range(4):
        assert len({one[part] for one in (topic, *others)}) == 4


def test_a_topic_is_a_secret_of_96_bits_and_valid_for_ntfy() -> None:
    names = {new_name() for _ in range(1000)}
    assert len(names) == 1000
    alphabet = set(string.ascii_lowercase + "234567")
    assert all(len(name) == 25 and name.startswith("nssh_") and set(name[5:]) <= alphabet for name in names)
    for position in range(5, 24):
        assert {name[position] for name in names} == alphabet


def test_no_file_name_holds_a_topic_and_all_is_private(state: Path) -> None:
    for made in (obtain(KEY, SERVER), obtain(KEY, SERVER, fresh=True), obtain("k", "s", fixed="nssh_fixed")):
        assert made.name not in made.ledger + made.lease
        for path in state.rglob("*"):
            assert made.name not in str(path)
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_fresh_one_has_state_of_its_own_and_is_kept(state: Path) -> None:
    first, second = obtain(KEY, SERVER), obtain(KEY, SERVER, fresh=True)
    assert all(one != two for one, two in zip(first, second, strict=True))
    assert obtain(KEY, SERVER) == second


def test_a_topic_is_kept_however_long_it_was_not_used(state: Path) -> None:
    """What a program on the remote sent to it an hour ago is to arrive."""
    first = obtain(KEY, SERVER)
    os.utime(the_file(state), (1, 1))
    assert obtain(KEY, SERVER) == first


def test_the_configured_topic_wins_and_keeps_its_state(state: Path) -> None:
    own = obtain(KEY, SERVER)
    fixed = obtain(KEY, SERVER, fixed="nssh_mine")
    assert fixed.name == "nssh_mine"
    assert fixed.ledger != own.ledger
    assert obtain(KEY, SERVER, fixed="nssh_mine") == fixed
    assert obtain(KEY, SERVER, fixed="nssh_mine", fresh=True) == fixed
    assert obtain("you@elsewhere:22", SERVER, fixed="nssh_mine") == fixed, "one topic, one lease"
    assert obtain(KEY, SERVER, fixed="nssh_other").name == "nssh_other"
    assert obtain(KEY, SERVER) == own


def test_a_topic_that_is_joined_becomes_the_targets_own(state: Path) -> None:
    """As after `--new` and the end of that session: the one that still lives has the topic before it."""
    first, second = obtain(KEY, SERVER), obtain(KEY, SERVER, fresh=True)
    assert topics.current(KEY, SERVER) == second.name
    assert obtain(KEY, SERVER, joined=(first.name, first.serial)) == first
    assert topics.current(KEY, SERVER) == first.name
    assert obtain(KEY, SERVER) == obtain(KEY, SERVER, joined=(first.name, first.serial)) == first
    assert topics.current("you@h.example:22", SERVER) == ""


def test_a_topic_of_the_go_program_has_no_serial_and_gets_one(state: Path) -> None:
    obtain(KEY, SERVER)
    joined = obtain(KEY, SERVER, joined=("nssh_go", ""))
    assert joined.name == "nssh_go"
    assert joined.serial
    assert obtain(KEY, SERVER, joined=("nssh_go", "")) == joined


def test_what_former_topics_left_is_removed_once_it_is_old_and_nobody_uses_it(state: Path) -> None:
    old, used, young = (obtain(KEY, SERVER, fresh=True) for _ in range(3))
    other = obtain(KEY + "2", SERVER)
    lease = Lease(used.lease)
    for topic in (old, used, young, other):
        for path in (topic.ledger, topic.lease, topic.ledger.replace(".ledger", ".held")):
            Path(path).touch()
            if topic is not young:
                os.utime(path, (1, 1))
    assert lease.acquire()
    latest = obtain(KEY, SERVER, fresh=True)
    left = {path.name for path in (state / "topics").iterdir()}
    for topic, ledger in ((old, False), (used, True), (young, True), (other, True)):
        assert (os.path.basename(topic.ledger) in left) == ledger
        assert (os.path.basename(topic.lease) in left) == ledger
        assert os.path.basename(topic.ledger).replace(".ledger", ".held") in left
    assert topics.current(KEY, SERVER) == latest.name
    lease.release()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"topic": "nssh_x"}',
        b'{"topic": 1, "serial": "a"}',
        b'{"topic": ["a"], "serial": "a"}',
        b'{"topic": "nssh_x", "serial": 5}',
        b'{"topic": "", "serial": ""}',
        b'{"topic": "nssh_x", "serial": "../../x"}',
        b'{"topic": "a/b?c", "serial": "abcd"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"\0" * 1000,
    ],
    ids=lambda content: str(content[:30]),
)
def test_a_damaged_file_is_replaced(state: Path, content: bytes) -> None:
    obtain(KEY, SERVER)
    the_file(state).write_bytes(content)
    topic = obtain(KEY, SERVER)
    assert topic.name.startswith("nssh_")
    assert len(topic.name) == 25
    assert os.path.dirname(os.path.realpath(topic.ledger)) == os.path.realpath(state / "topics")
    assert obtain(KEY, SERVER) == topic


MANY = """\
import os, sys
from nssh.state import topics
from nssh.state.lease import Lease
sys.stdin.read()
for number in range(int(sys.argv[1])):
    print(*topics.obtain(f"key{number}", "relay", fixed=sys.argv[2]), flush=True)
"""


@pytest.mark.parametrize("found", ["nothing", "old", "damaged", "another"])
def test_processes_that_start_at_once_get_the_same_topic(state: Path, found: str) -> None:
    """Two that differ would have two leases, and both would act."""
    rounds, fixed = 40, "nssh_fixed" if found == "another" else ""
    for number in range(rounds) if found != "nothing" else ():
        obtain(f"key{number}", "relay")
    for path in (state / "topics").glob("*.json"):
        if found == "old":
            os.utime(path, (1, 1))
        elif found == "damaged":
            path.write_bytes(b"{")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, str(rounds), fixed], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    told = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    for lines in zip(*told, strict=True):
        assert len(set(lines)) == 1
    assert len(told[0]) == rounds
    assert [path.name for path in (state / "topics").iterdir() if path.name.endswith((".new", ".tmp"))] == []


def test_a_state_directory_that_can_not_be_written_is_an_error_that_names_it(state: Path) -> None:
    state.parent.mkdir(parents=True)
    state.write_bytes(b"")
    with pytest.raises(OSError, match="nssh"):
        obtain(KEY, SERVER)


NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)


@given(NAME, NAME)
def test_file_names_are_safe_and_tell_texts_apart(one: str, two: str) -> None:
    names = [file_name(text) for text in (one, two)]
    assert (names[0] == names[1]) == (one == two)
    for name in names:
        assert name.isascii()
        assert "/" not in name
        assert len(name) <= 150


def test_a_file_name_is_readable_and_bounded() -> None:
    assert file_name("me@[fe80::1]:22+https://x") == "me@%5bfe80%3a%3a1%5d%3a22%2bhttps%3a%2f%2fx"
    long = [file_name("x" * 5000 + end) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name) <= 150 for name in long)
    assert file_name("éa") != file_name("\u0e9a")


def test_a_key_that_is_no_text_for_the_file_system_is_no_obstacle(state: Path) -> None:
    topic = obtain("\udcff" * 60 + "@host", SERVER)
    assert isinstance(topic, Topic)
    assert topics.obtain("\udcff" * 60 + "@host", SERVER) == topic


def test_a_session_can_see_that_a_later_one_has_a_new_topic(state: Path) -> None:
    first = obtain(KEY, SERVER)
    assert topics.newest(first.name, first.ledger) == first.name
    second = obtain(KEY, SERVER, fresh=True)
    assert topics.newest(first.name, first.ledger) == second.name
    assert topics.newest(second.name, second.ledger) == second.name
    obtain(KEY, SERVER, joined=(first.name, first.serial))
    assert topics.newest(first.name, first.ledger) == first.name
    pinned = obtain(KEY, SERVER, fixed="nssh_mine")
    assert topics.newest(pinned.name, pinned.ledger) == pinned.name
    assert topics.newest("nssh_x", str(state / "topics/none.0000.ledger")) == "nssh_x"
