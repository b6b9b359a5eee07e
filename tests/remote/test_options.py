from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.remote.options import BadOption, Options, parse_gnu, parse_x
from nssh.remote.wayland import _COPY
from nssh.remote.xclip import _EXACT, _OPTIONS


def x(*words: str) -> Options:
    return parse_x(list(words), _OPTIONS, _EXACT)


def gnu(*words: str) -> Options:
    return parse_gnu(list(words), _COPY)


@pytest.mark.parametrize("name", ["-selection", "-sel", "-se"])
def test_x_options_may_be_abbreviated(name: str) -> None:
    options = x("-i", name, "clip", "-o", "file")
    assert (options.get("selection"), sorted(options.found), options.words) == (
        "clip",
        ["in", "out", "selection"],
        ["file"],
    )


def test_x_takes_for_a_file_what_it_does_not_know() -> None:
    assert x("-", "-s", "--in", "-nonsense").words == ["-", "-s", "--in", "-nonsense"]


def test_an_x_value_may_begin_with_a_dash() -> None:
    assert x("-t", "-o").found == {"target": "-o"}


def test_gnu_options_come_in_all_their_forms() -> None:
    for words in (["-t", "a/b"], ["-ta/b"], ["--type", "a/b"], ["--type=a/b"], ["--ty", "a/b"], ["-nt", "a/b"]):
        assert gnu(*words).get("type") == "a/b"
    assert gnu("a", "-n", "b", "--", "-c", "--").words == ["a", "b", "-c", "--"]
    assert gnu("-").words == ["-"]


@pytest.mark.parametrize(
    "words", [["-x"], ["--nonsense"], ["--p"], ["-t"], ["--type"], ["--clear=1"], ["-nx"], ["-nt"]]
)
def test_gnu_refuses_what_it_does_not_know(words: list[str]) -> None:
    with pytest.raises(BadOption):
        gnu(*words)


def test_flags_hold_no_values() -> None:
    assert gnu("-t", "SECRET", "SECRET", "-n").flags() == ["-type", "-trim-newline"]
    assert x("-t", "SECRET", "SECRET", "-SECRET").flags() == ["-target"]


@given(st.lists(st.text(alphabet="-toncips=sel/ x", max_size=8), max_size=6))
def test_any_command_line_is_read_or_refused(words: list[str]) -> None:
    for parse in (x, gnu):
        try:
            options = parse(*words)
        except BadOption:
            continue
        assert set(options.found) <= set(_OPTIONS) | set(_COPY)
        assert all(word in words for word in options.words)
