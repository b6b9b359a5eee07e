from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.state import held_urls
from nssh.state.held_urls import HeldUrl

if TYPE_CHECKING:
    from pathlib import Path

URLS = st.builds(HeldUrl, st.text(), st.integers(0, 1 << 40), st.booleans())


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "topic.held")


def take_all(path: str) -> list[HeldUrl]:
    found = []
    while (one := held_urls.take(path)) is not None:
        found.append(one)
    return found


@given(urls=st.lists(URLS, unique=True, max_size=8))
def test_what_is_held_is_taken_once_and_in_order_and_what_was_found_stays(
    tmp_path_factory: pytest.TempPathFactory, urls: list[HeldUrl]
) -> None:
    path = str(tmp_path_factory.mktemp("held") / "topic.held")
    assert (held_urls.read(path), held_urls.take(path)) == ([], None)
    for url in urls * 2:
        assert held_urls.add(path, url)
    assert held_urls.read(path) == urls
    found = [url for url in urls if url.found]
    assert take_all(path) == [url for url in urls if not url.found]
    assert (held_urls.read(path), held_urls.take(path)) == (found, None)
    assert os.listdir(os.path.dirname(path)) == (["topic.held"] if found else [])


def test_a_message_that_comes_again_is_held_once(path: str) -> None:
    for url in (HeldUrl("a", 1), HeldUrl("b", 1), HeldUrl("a", 1), HeldUrl("a", 2)):
        assert held_urls.add(path, url)
    assert held_urls.read(path) == [HeldUrl("a", 1), HeldUrl("b", 1), HeldUrl("a", 2)]


def test_it_is_private_from_its_making_and_stays_so(path: str) -> None:
    before = os.umask(0)
    try:
        for number in range(3):
            held_urls.add(path, HeldUrl(f"https://example.com/{number}", number))
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        held_urls.take(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "line",
    [
        b'{"url": "https://torn',
        b"\xff\xfe\0",
        b"[]",
        b"1",
        b'{"url": 1, "time": 1}',
        b'{"url": "x", "time": "1"}',
        b'{"url": "x", "time": true}',
        b'{"url": "x", "time": Infinity}',
        b'{"time": 1}',
        b'{"url": "x", "time": 1, "found": "1"}',
        b'{"url": "x", "time": 1, "found": true}',
        b'{"url": "x", "time": 1, "found": Infinity}',
        b"[" * 100_000,
        b"",
    ],
    ids=lambda line: line[:20].decode("latin-1"),
)
def test_what_a_crash_left_costs_nothing_else(path: str, line: bytes) -> None:
    one, two = HeldUrl("https://a.example", 1), HeldUrl("https://b.example", 2)
    held_urls.add(path, one)
    with open(path, "ab") as file:
        file.write(line)
    held_urls.add(path, two)
    assert held_urls.read(path) == [one, two]
    assert take_all(path) == [one, two]


def test_a_remote_can_not_fill_the_disk(path: str) -> None:
    urls = [HeldUrl("https://example.com/" + "x" * 100_000, number) for number in range(12)]
    kept = [held_urls.add(path, url) for url in urls]
    assert kept == [True] * 10 + [False] * 2
    assert os.stat(path).st_size <= 1 << 20
    assert held_urls.read(path) == urls[:10]
    held_urls.take(path)
    assert held_urls.add(path, urls[10])
    assert held_urls.read(path) == urls[1:11]


def test_found_ones_never_crowd_out_held_ones(path: str) -> None:
    def url(number: int, *, found: bool) -> HeldUrl:
        return HeldUrl("https://example.com/" + "x" * 100_000, number, found)

    for number in range(30):
        assert held_urls.add(path, url(number, found=True)), "the oldest give way"
    assert held_urls.read(path) == [url(number, found=True) for number in range(20, 30)]
    assert not held_urls.add(path, HeldUrl("x" * (1 << 20), 1)), "what has no room at all drives out none"
    assert len(held_urls.read(path)) == 10
    for number in range(10):
        assert held_urls.add(path, url(number, found=False))
    assert held_urls.read(path) == [url(number, found=False) for number in range(10)]
    assert not held_urls.add(path, url(1, found=True))
    assert not held_urls.add(path, *(url(number, found=True) for number in range(10)))
    assert held_urls.read(path) == [url(number, found=False) for number in range(10)]
    assert os.stat(path).st_size <= 1 << 20
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_of_many_found_at_once_the_newest_are_kept(path: str) -> None:
    """As where a pinned topic is full of what another program has handled: it must not take the bridge minutes."""
    held = HeldUrl("https://example.com/held", 1)
    assert held_urls.add(path, held)
    many = [HeldUrl("https://example.com/" + "x" * 2500, number, found=True) for number in range(20_000)]
    began = time.monotonic()
    assert not held_urls.add(path, *many, many[-1])
    assert time.monotonic() - began < 30
    first, *others = held_urls.read(path)
    assert (first, others) == (held, many[-len(others) :])
    assert len(others) > 300
    assert held_urls.add(path, *others), "a repeat after a crash"
    assert held_urls.read(path) == [held, *others]


def test_a_line_of_before_there_were_found_ones_is_held_and_not_held_again(path: str) -> None:
    with open(path, "w") as file:
        file.write('{"url": "https://a.example", "time": 1}\n')
    assert held_urls.add(path, HeldUrl("https://a.example", 1))
    assert held_urls.read(path) == [HeldUrl("https://a.example", 1, found=False)]


def test_found_ones_are_gone_after_a_day_also_if_the_clock_was_wrong(path: str) -> None:
    now = int(time.time())
    found = {
        "kept": now - int(held_urls.FOUND_KEPT) + 60,
        "soon": now + 60,
        "gone": now - int(held_urls.FOUND_KEPT) - 1,
        "future": now + int(held_urls.FOUND_KEPT) + 60,
    }
    with open(path, "w") as file:
        file.write(json.dumps({"url": "held", "time": 1}) + "\n")
        file.writelines(json.dumps({"url": url, "time": 1, "found": at}) + "\n" for url, at in found.items())
    assert held_urls.read(path) == [HeldUrl("held", 1), HeldUrl("kept", 1, found=True), HeldUrl("soon", 1, found=True)]
    with open(path) as file:
        assert file.read().count("\n") == 3, "they are not kept on the disk either"
    with open(path, "w") as file:
        file.write(json.dumps({"url": "gone", "time": 1, "found": 1}) + "\n")
    assert held_urls.read(path) == []
    assert not os.path.exists(path)


def test_a_full_disk_costs_the_new_one_and_none_that_is_there(path: str) -> None:
    held_urls.add(path, HeldUrl("https://a.example", 1))
    before = os.stat(path).st_size
    code = (
        "import resource, sys; from nssh.state import held_urls as held\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({before + 10}, {before + 10}))\n"
        "try: held.add(sys.argv[1], held.HeldUrl('https://b.example', 2))\nexcept OSError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert os.stat(path).st_size == before
    assert held_urls.add(path, HeldUrl("https://c.example", 3))
    assert held_urls.read(path) == [HeldUrl("https://a.example", 1), HeldUrl("https://c.example", 3)]


def test_a_symlink_is_never_followed(path: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"")
    os.symlink(tmp_path / "precious", path)
    for attempt in (
        lambda: held_urls.add(path, HeldUrl("u", 1)),
        lambda: held_urls.read(path),
        lambda: held_urls.take(path),
    ):
        with pytest.raises(OSError, match=r"held"):
            attempt()
    assert (tmp_path / "precious").read_bytes() == b""


def test_several_who_add_and_take_at_once_lose_nothing_and_get_nothing_twice(path: str) -> None:
    """Three sessions that hold URLs while two users open what is there."""
    adder = (
        "import sys; from nssh.state import held_urls as held\n"
        "for n in range(60): assert held.add(sys.argv[1], held.HeldUrl(f'{sys.argv[2]}-{n}', n))"
    )
    taker = (
        "import sys; from nssh.state import held_urls as held\n"
        "while True:\n"
        "    one = held.take(sys.argv[1])\n"
        "    if one is not None: print(one.url, flush=True)\n"
        "    elif sys.stdin.read(1) == '': break\n"
    )
    adders = [subprocess.Popen([sys.executable, "-c", adder, path, name]) for name in "abc"]
    takers = [
        subprocess.Popen([sys.executable, "-c", taker, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    # Each one that finds nothing waits for a byte before it looks again.
    for one in takers:
        assert one.stdin is not None
        one.stdin.write("x" * 300)
        one.stdin.flush()
    assert [one.wait(60) for one in adders] == [0, 0, 0]
    taken: list[str] = []
    for one in takers:
        taken += one.communicate(timeout=60)[0].split()
    taken += [one.url for one in take_all(path)]
    assert sorted(taken) == sorted(f"{name}-{number}" for name in "abc" for number in range(60))
