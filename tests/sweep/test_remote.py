"""An answer is read while it arrives: a fate is told as soon as it is known, whole, and once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nssh import framing

words = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=12)


@given(st.lists(words.map(lambda word: f"fate {word}"), max_size=8), st.integers(1, 40))
def test_lines_are_there_whole_as_they_arrive_and_none_is_missed(said: list[str], size: int) -> None:
    script = framing.pack("")
    mark = script.marker.decode()
    text = "".join(f"{line}\n" for line in said)
    output = f"noise\n\n{mark} begin\n{text}\n{mark} end 0\nmore".encode()
    reader = framing.Reader(script.marker)
    heard: list[str] = []
    for at in range(0, len(output), size):
        answer = reader.feed(output[at : at + size])
        lines = reader.lines if answer is None else answer.lines
        heard += lines[len(heard) :]
        if answer is not None:
            break
    assert [line for line in heard if line] == said
