"""An answer is read while it arrives: a fate is told as soon as it is known, whole, once; one without end is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import ConnectError
from nssh.ssh import framing
from nssh.sweep.run_scripts import ScriptRunner

if TYPE_CHECKING:
    from nssh.ssh.connection import Connection

words = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=12)


@given(st.lists(words.map(lambda word: f"fate {word}"), max_size=8), st.integers(1, 40))
def test_lines_are_there_whole_as_they_arrive_and_none_is_missed(said: list[str], size: int) -> None:
    script = framing.pack("")
    mark = script.marker.decode()
    text = "".join(f"{line}\n" for line in said)
    output = f"noise\n\n{mark} begin\n{text}\n{mark} end 0\nmore".encode()
    reader = framing.AnswerReader(script.marker)
    heard: list[str] = []
    for at in range(0, len(output), size):
        answer = reader.feed(output[at : at + size])
        lines = reader.lines if answer is None else answer.lines
        heard += lines[len(heard) :]
        if answer is not None:
            break
    assert [line for line in heard if line] == said


class Talker:
    """A connection whose remote goes on talking, and its stream."""

    def __init__(self) -> None:
        self.over = time.monotonic() + 20.0
        self.closed = False

    def open_stream(self, _command: str, *, timeout: float) -> Talker:
        assert timeout > 0
        return self

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        pass

    def recv(self, _size: int) -> bytes:
        assert time.monotonic() < self.over, "it is listened to for ever"
        return b"and another thing\n"

    def close(self) -> None:
        self.closed = True


def test_who_goes_on_talking_is_left_when_the_time_is_up() -> None:
    """As a remote whose start-up files print for ever: a sweep on connect would be kept busy by it."""
    talker = Talker()
    with pytest.raises(ConnectError, match="no answer in time"):
        ScriptRunner(cast("Connection", talker)).servers(0.2)
    assert talker.closed
