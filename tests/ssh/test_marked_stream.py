"""What a shell's start-up files print before the mark is dropped, however it arrives; what follows is not touched."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import ConnectError
from nssh.ssh.marked_stream import MarkedStream, new_mark

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pieces:
    """The far end: gives its bytes out in the pieces in which they are to arrive."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter([piece for piece in pieces if piece])
        self._rest = b""

    def recv(self, size: int, /) -> bytes:
        data = self._rest or next(self._pieces, b"")
        self._rest = data[size:]
        return data[:size]

    def sendall(self, data: bytes, /) -> None:
        raise AssertionError(data)

    def settimeout(self, seconds: float | None, /) -> None:
        raise AssertionError(seconds)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


def read(stream: MarkedStream, size: int) -> bytes:
    return b"".join(iter(lambda: stream.recv(size), b""))


@given(st.binary(max_size=300), st.binary(max_size=300), st.lists(st.integers(0, 700), max_size=6), st.integers(1, 99))
def test_noise_before_the_mark_is_dropped(noise: bytes, answer: bytes, cuts: list[int], size: int) -> None:
    mark = new_mark()
    data = noise + f"\n{mark}\n".encode() + answer
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:stop] for start, stop in itertools.pairwise(edges)]
    assert read(MarkedStream(Pieces(pieces), mark), size) == answer


def test_an_end_without_a_mark_is_an_end() -> None:
    assert read(MarkedStream(Pieces([b"sh: not found\n"]), new_mark()), 10) == b""


@pytest.mark.parametrize("size", [65_536, 200_000])
def test_a_backlog_that_arrives_with_the_mark_is_no_noise(size: int) -> None:
    mark = new_mark()
    answer = bytes(range(256)) * (size // 256)
    assert read(MarkedStream(Pieces([f"\n{mark}\n".encode() + answer]), mark), 1 << 20) == answer


def test_noise_without_end_is_an_error() -> None:
    with pytest.raises(ConnectError, match="prints without end"):
        read(MarkedStream(Pieces([b"x" * 50_000] * 3), new_mark()), 10)


def test_everything_else_goes_straight_through() -> None:
    near, far = socket.socketpair()
    with near, far:
        stream = MarkedStream(near, "mark")
        stream.sendall(b"at once")  # without waiting for the mark
        assert far.recv(100) == b"at once"
        far.sendall(b"\nmark\nanswer")
        assert stream.recv(3) == b"ans"
        assert stream.recv(3) == b"wer"
        assert stream.fileno() == near.fileno()
        assert stream.stderr == ""
        stream.close()
        assert far.recv(1) == b""
