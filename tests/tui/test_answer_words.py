"""Which option typed and pasted keys mean, without a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.tui import Option
from nssh.tui._answer_words import ENTER, Answer, AnswerWords
from nssh.tui._question import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = [Option("j", "Join"), Option("r", "Replace"), Option("n", "New topic"), Option("c", "Cancel")]
WORDS = words_of(OPTIONS)
PAUSE = ("pause", b"")


def keys_of(text: str) -> list[tuple[str, bytes]]:
    """Return the keys that type a text; `|` is a pause."""
    names = {"\r": "c-m", "\n": "c-j", "\x03": "c-c"}
    return [PAUSE if key == "|" else (names.get(key, key), key.encode()) for key in text]


def typed(keys: Sequence[tuple[str, bytes]]) -> tuple[Answer | None, bytes]:
    """Type keys until there is an answer; return it, and what was not read any more."""
    reader = AnswerWords(WORDS)
    for number, (key, data) in enumerate(keys):
        answer = reader.pause() if (key, data) == PAUSE else reader.press(key, data)
        if answer is not None:
            return answer, b"".join(more for _, more in keys[number + 1 :])
    return None, b""


@pytest.mark.parametrize(
    ("text", "word", "rest"),
    [
        ("j|", "j", ""),
        ("J|", "j", ""),
        ("j\r", "j", ""),
        ("\r", "", ""),
        ("\n", "", ""),
        ("join\r", "join", ""),
        ("JOIN\r", "join", ""),
        ("Join\n", "join", ""),
        ("join|", "join", ""),
        ("replace\r", "replace", ""),
        ("new\r", "new", ""),
        ("new topic\r", "new topic", ""),
        ("new t|", "new", " t"),
        ("new test\r", "new", " test\r"),
        ("cancel\r", "cancel", ""),
        ("q|", "q", ""),
        ("q\r", "q", ""),
        ("quit\r", "quit", ""),
        ("quiet|", "q", "uiet"),
        ("join\rls -la\r", "join", "ls -la\r"),
        ("jls -la\r", "j", "ls -la\r"),
        ("joinls\r", "join", "ls\r"),
        ("jo|", "j", "o"),
        ("jo\r", "j", "o\r"),
        ("jod -c x\r", "j", "od -c x\r"),
        ("recho hi\r", "r", "echo hi\r"),
        ("rreplace\r", "r", "replace\r"),
        ("xyj|", "j", ""),  # what means nothing is no answer
        ("x\r", "", ""),
    ],
)
def test_what_is_typed(text: str, word: str, rest: str) -> None:
    answer, unread = typed(keys_of(text))
    assert answer is not None
    assert answer.word == word
    assert answer.rest + unread == rest.encode()
    assert answer.entered == (not answer.rest and text[: len(text) - len(unread)][-1] in "\r\n")


@pytest.mark.parametrize("text", ["", "x", "|", "?!|", "ls -la"])
def test_what_is_no_answer(text: str) -> None:
    assert typed(keys_of(text)) == (None, b"")


def test_a_beginning_that_is_no_word_is_forgotten_after_a_pause() -> None:
    reader = AnswerWords(["y", "n", "quit"])
    assert reader.press("q", b"q") is None
    assert reader.typed == "q"
    assert reader.pause() is None
    assert reader.typed == ""
    assert reader.press("u", b"u") is None
    assert reader.typed == ""
    assert reader.press("q", b"q") is None
    assert reader.press("y", b"y") is None  # `qy` begins no word, `y` does
    assert reader.pause() == Answer("y")


@pytest.mark.parametrize(
    ("data", "word", "rest"),
    [
        (b"join\r", "join", b""),
        (b"JOIN\n", "join", b""),
        (b"  quit \r\n", "quit", b""),
        (b"join\r\r", "join", b""),
        (b"join\r\n\r\nls -la\r\n", "join", b"ls -la\r\n"),
        (b"new topic\nls\n", "new topic", b"ls\n"),
        (b"j\r", "j", b""),
    ],
)
def test_what_is_pasted(data: bytes, word: str, rest: bytes) -> None:
    assert AnswerWords(WORDS).paste(data) == Answer(word, rest, entered=True)


@pytest.mark.parametrize("data", [b"", b"\r", b"\n\njoin\n", b"rm -rf x\r", b"joint\r", b"\xff\r", b"\x1b\r", b" "])
def test_what_is_pasted_and_no_answer(data: bytes) -> None:
    reader = AnswerWords(WORDS)
    assert reader.paste(data) is None
    assert reader.typed == ""


def test_a_word_that_is_pasted_waits_for_its_enter() -> None:
    reader = AnswerWords(WORDS)
    assert reader.paste(b"join") is None
    assert reader.typed == "join"
    assert reader.press("c-m", b"\r") == Answer("join", entered=True)
    assert reader.paste(b"join") is None
    assert reader.pause() == Answer("join")


def test_what_is_pasted_behind_a_key_is_for_the_session() -> None:
    reader = AnswerWords(WORDS)
    reader.press("j", b"j")
    assert reader.paste(b"ls -la\r") == Answer("j", b"ls -la\r")


LETTERS = keys_of("joinreplacewtcqu JOINQ|x-1\r\n")
KEYS = st.sampled_from([*LETTERS, ("up", b"\x1b[A"), ("\xdf", b"\xc3\x9f")])


@given(st.lists(KEYS, max_size=24))
def test_no_key_behind_an_answer_is_lost_or_changed(keys: list[tuple[str, bytes]]) -> None:
    answer, unread = typed(keys)
    reader, dropped = AnswerWords(WORDS), b"".join(data for _, data in keys)
    if answer is None:
        for key, data in keys:
            assert (reader.pause() if (key, data) == PAUSE else reader.press(key, data)) is None
        return
    assert answer.word == "" or answer.word in WORDS
    left = answer.rest + unread
    assert dropped.endswith(left)
    own = dropped[: len(dropped) - len(left)].lower()
    own = own[:-1] if answer.entered else own
    assert own.endswith(answer.word.encode())
    if answer.entered:
        assert not answer.rest


@given(st.sampled_from(sorted(WORDS)), st.sampled_from(ENTER), st.text("abcdefj -\r", max_size=12), st.booleans())
def test_a_word_and_enter_decide_and_what_follows_is_whole(word: str, enter: str, command: str, upper: bool) -> None:  # noqa: FBT001
    keys = [*keys_of(word.upper() if upper else word), (enter, b"\r")]
    answer, unread = typed([*keys, *keys_of(command)])
    assert answer == Answer(word, entered=True)
    assert unread == command.encode()


@given(st.sampled_from("jrncq"), st.text("abcdfhklmpstxyz0 -/\r", min_size=1, max_size=12))
def test_a_key_decides_and_a_command_behind_it_is_whole(key: str, command: str) -> None:
    if any(word.startswith((key + command)[:2]) for word in WORDS) or command[0] == "\r":
        return
    answer, unread = typed(keys_of(key + command))
    assert answer is not None
    assert (answer.word, answer.rest + unread) == (key, command.encode())
