from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nssh.base.printable import LONGEST, printable


@given(st.text(), st.none() | st.integers(1, 50))
def test_whatever_arrives_is_one_line_that_steers_nothing(text: str, limit: int | None) -> None:
    line = printable(text, limit)
    assert line.isprintable()
    assert len(line) == (len(text) if limit is None else min(len(text), limit))


def test_what_is_printable_stays() -> None:
    assert printable("größer als 1 € – ok") == "größer als 1 € – ok"


def test_what_steers_a_terminal_or_turns_text_around_is_shown_as_question_marks() -> None:
    assert printable("a\x1b[31mb\nc\r\x9b2J\u202ed\x7f") == "a?[31mb?c??2J?d?"


def test_what_was_cut_says_so() -> None:
    assert printable("x" * 5000, LONGEST) == "x" * (LONGEST - 1) + "…"
    assert printable("x" * LONGEST, LONGEST) == "x" * LONGEST
