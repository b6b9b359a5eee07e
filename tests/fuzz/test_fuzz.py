"""Any bytes at all for everything that reads what a stranger may have written: no crash, no hang."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = 3 * settings().max_examples

# What formats are made of: among random bytes these are rare.
_TOKENS = (
    b"\r\n", b"\r\n\r\n", b"\0", b" ", b":", b"/", b"%", b"=", b'"', b"\\u", b"{", b"}", b"[", b"]", b",", b"-", b"--",
    b"HTTP/1.1", b"Content-Length: ", b"Transfer-Encoding: chunked", b"kind", b"http://", b"@", b"\xff",
    b"\xc3\xbc", b"0",
    b"9" * 30,
)  # fmt: skip


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Seeds with pieces cut out, doubled, and others put in."""

    def change(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for at, length, piece in edits:
            start = at % (len(seed) + 1)
            seed = seed[:start] + piece + seed[start + length :]
        return seed

    edit = st.tuples(st.integers(0, 5000), st.integers(0, 8), st.sampled_from(_TOKENS) | st.binary(max_size=6))
    return st.builds(change, st.sampled_from(seeds), st.lists(edit, max_size=6))


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mutated(SEEDS[name]) | st.binary(max_size=300) | st.lists(st.sampled_from(_TOKENS)).map(b"".join))
    def check(data: bytes) -> None:
        target(data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_large_input_takes_no_more_than_its_share_of_time(name: str) -> None:
    """Twice the input may take twice the time, and some; four times would be a way to keep somebody busy."""
    random.seed(7)
    for token in (*SEEDS[name], b"a", b"%", b"[", b"\r\n", b"-", b": "):
        small, large = (
            _fastest(TARGETS[name], (token or b"a") * (size // max(1, len(token)))) for size in (50_000, 200_000)
        )
        assert large < 0.3 or large < 8 * small, (token[:20], small, large)


def _fastest(target: Callable[[bytes], None], data: bytes) -> float:
    times = []
    for _ in range(2):
        begun = time.process_time()
        target(data)
        times.append(time.process_time() - begun)
    return min(times)
