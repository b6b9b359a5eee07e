"""Words that answer a question, typed and pasted, on a real terminal; and what is typed behind them."""

from __future__ import annotations

import functools
import re
import signal
import termios
from typing import TYPE_CHECKING

import pytest

from tests.tui.question import assert_cancelled, end, marked, question
from tests.tui.window import environment

if TYPE_CHECKING:
    from tests.lab.screen import Screen

pytestmark = pytest.mark.real  # each test is a program on a terminal of its own

PASTE, PASTED = b"\x1b[200~", b"\x1b[201~"
PATIENT = 60.0
WORDS = [(b"join", "j"), (b"JOIN", "j"), (b"replace", "r"), (b"new", "n"), (b"New Topic", "n"), (b"cancel", "c")]


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("enter", [b"\r", b"\n"])
@pytest.mark.parametrize(("word", "key"), WORDS)
def test_a_word_decides_and_a_command_behind_it_is_for_the_session(
    word: bytes, key: str, enter: bytes, *, keeps: bool
) -> None:
    with question(1, reads=7, keeps=keeps) as screen:
        screen.wait("Cancel")
        screen.window.send(word + enter + b"ls -la\r")
        assert end(screen) == 0
        assert screen.lines[-2] == f'answer: "{key}"'
        assert screen.lines[-1] == r"read: b'ls -la\r'"


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize(
    "typed", [b"join\r", b"join\r\r", b"join\r\n", b"j\r", b"j\r\r", b"J", b"join", b"\r\r", b"\r"]
)
def test_nothing_of_an_answer_is_left(typed: bytes, *, keeps: bool) -> None:
    with question(left=True, keeps=keeps) as screen:
        screen.wait("Cancel")
        screen.window.send(typed)
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "j"', "read: b''"]


def test_enters_behind_the_answer_belong_to_it_and_what_follows_does_not() -> None:
    with question(reads=6) as screen:
        screen.wait("Cancel")
        screen.window.send(b"replace\r\r\n\x1b[Als\r")
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "r"', r"read: b'\x1b[Als\r'"]


@pytest.mark.parametrize(
    ("typed", "rest"),
    [
        (b"rls -la\r", b"ls -la\r"),
        (b"recho hi\r", b"echo hi\r"),
        (b"re\r", b"e\r"),
        (b"repl", b"epl"),
        (b"rreplace\r", b"replace\r"),
        (b"replacement\r", b"ment\r"),
        (b"r\x1b[A\r", b"\x1b[A\r"),
        (b"r\x1b[15~\r", b"\x1b[15~\r"),
        ("r\u00e4\u6f22\r".encode(), "\u00e4\u6f22\r".encode()),
        (b"r" + PASTE + b"ls -la\r" + PASTED, b"ls -la\r"),
        (b"r" + b"x" * 200, b"x" * 200),
    ],
)
def test_what_goes_on_with_no_word_is_for_the_session(typed: bytes, rest: bytes) -> None:
    with question(reads=len(rest), columns=4000) as screen:
        screen.wait("Cancel")
        screen.window.send(typed)
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "r"', f"read: {rest!r}"]


def test_the_keys_of_a_word_may_come_one_by_one() -> None:
    with question(left=True, patience=PATIENT) as screen:
        screen.wait(marked("Join"))
        screen.window.send(b"r")
        screen.wait(marked("Replace"))
        for key in b"eplace":
            screen.window.send(bytes([key]))
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "r"', "read: b''"]


def ends_lines_at(screen: Screen, letter: str) -> bool:
    return bool(screen.window.attributes()[6][termios.VEOL] == letter.lower().encode())


def typed_one_by_one(screen: Screen, letters: str) -> None:
    """Type letters, each when the terminal waits for it, as `skip_word` makes it."""
    for letter in letters:
        screen.window.wait_until(functools.partial(ends_lines_at, screen, letter), f"{letter!r} is awaited")
        screen.window.send(letter.encode())


@pytest.mark.parametrize("letters", ["eplace", "EPLACE"])
def test_the_keys_of_a_word_may_come_one_by_one_where_none_can_be_put_back(letters: str) -> None:
    with question(reads=3, keeps=True, patience=PATIENT) as screen:
        screen.wait("Cancel")
        screen.window.send(b"r")
        typed_one_by_one(screen, f"{letters}\r")
        screen.wait("answer:")
        screen.window.send(b"id\r")
        assert end(screen) == 0
        assert re.fullmatch(r"read: b'id\\[rn]'", screen.lines[-1])


@pytest.mark.parametrize("letters", ["e", "eplac"])
@pytest.mark.parametrize("command", [b"xit\r", b"\x1b[A\x7f\x15\x04\x16\r", b"eplace\r"])
def test_a_command_that_begins_like_the_word_is_whole_where_none_can_be_put_back(letters: str, command: bytes) -> None:
    rest = letters.encode() + command
    with question(reads=len(rest), keeps=True, patience=3.0) as screen:
        screen.wait("Cancel")
        screen.window.send(b"r")
        typed_one_by_one(screen, letters)
        screen.window.send(command)
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "r"', f"read: {rest!r}"]


def test_cancelling_while_the_rest_of_a_word_is_awaited() -> None:
    with question(keeps=True, patience=PATIENT) as screen:
        screen.wait("Cancel")
        screen.window.send(b"j")
        typed_one_by_one(screen, "o")
        screen.window.send(b"\x03")
        assert end(screen) == -signal.SIGINT  # nobody has told the program to survive it


@pytest.mark.parametrize("typed", [b"q", b"Q", b"q\r", b"quit", b"QUIT\r", PASTE + b"quit\r" + PASTED])
def test_words_that_cancel(typed: bytes) -> None:
    with question() as screen:
        screen.wait("Cancel")
        screen.window.send(typed)
        assert_cancelled(screen)


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"\x1b"], ids=["^C", "^D", "Esc"])
@pytest.mark.parametrize("typed", [b"j", b"jo", b"join", b"q", b"qui", PASTE + b"join" + PASTED])
def test_cancelling_inside_a_word(typed: bytes, key: bytes) -> None:
    with question(patience=PATIENT) as screen:
        screen.wait("Cancel")
        screen.window.send(typed + key)
        assert_cancelled(screen)


def test_cancelling_inside_pasted_text() -> None:
    with question() as screen:
        screen.wait("Cancel")
        screen.window.send(PASTE + b"joi\x03")
        assert_cancelled(screen)


@pytest.mark.parametrize(
    ("pasted", "rest"),
    [
        (b"replace\r", b""),
        (b" REPLACE \r\n", b""),
        (b"replace", b""),
        (b"replace\rls -la\r", b"ls -la\r"),
        (b"replace\n\necho 'a b'\npwd\n", b"echo 'a b'\npwd\n"),
    ],
)
def test_a_word_that_is_pasted(pasted: bytes, rest: bytes) -> None:
    with question(reads=len(rest), left=True) as screen:
        screen.wait("Cancel")
        screen.window.send(PASTE + pasted + PASTED)
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "r"', f"read: {rest!r}"]


def test_what_is_typed_behind_pasted_text_stays_behind_it() -> None:
    with question(reads=10) as screen:
        screen.wait("Cancel")
        screen.window.send(PASTE + b"new\rls -la\r" + PASTED + b"id\r")
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "n"', r"read: b'ls -la\rid\r'"]


@pytest.mark.parametrize("pasted", [b"rm -rf x\r", b"\r", b"\r\rreplace\r", b"r" * 5000, b"replace\r" + b"x" * 2000])
def test_other_text_that_is_pasted_is_no_answer(pasted: bytes) -> None:
    with question(left=True) as screen:
        screen.wait("Cancel")
        screen.window.send(PASTE + pasted + PASTED + b"new\r")
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "n"', "read: b''"]


@pytest.mark.parametrize("typed", [b"rls -la\r", b"recho hi\r", PASTE + b"replace\rls -la\r" + PASTED])
def test_where_no_key_can_be_put_back_half_a_command_is_thrown_away(typed: bytes) -> None:
    with question(left=True, keeps=True, columns=100) as screen:
        screen.wait("Cancel")
        screen.window.send(typed)
        assert end(screen) == 0
        assert screen.lines[-3:] == [
            "nssh: what was typed behind the answer was thrown away: this system takes no keys back",
            'answer: "r"',
            "read: b''",
        ]


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(6, 24), (3, 12), (1, 1)])
def test_in_a_small_window_without_colour(rows: int, columns: int, *, keeps: bool) -> None:
    with question(1, rows=rows, columns=columns, environ=environment(NO_COLOR="1"), reads=3, keeps=keeps) as screen:
        screen.window.expect(b"\x1b[?25l")
        screen.window.send(b"new\rid\r")
        assert screen.window.wait() == 0
        assert screen.window.attributes() == screen.window.initial
        assert b'answer: "n"' in screen.window.output
        assert rb"read: b'id\r'" in screen.window.output


# Lines.


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize(("word", "key"), [*WORDS, (b"j", "j"), (b"", "r"), (b"nonsense\nnew", "n")])
def test_words_where_there_are_only_lines(word: bytes, key: str, *, keeps: bool) -> None:
    with question(1, environ=environment(TERM="dumb"), reads=7, keeps=keeps) as screen:
        screen.window.expect(b"Enter for r: ")
        screen.window.send(word + b"\nls -la\n")
        assert end(screen) == 0
        assert screen.lines[-2:] == [f'answer: "{key}"', r"read: b'ls -la\n'"]


@pytest.mark.parametrize("keeps", [False, True])
def test_a_second_enter_where_there_are_only_lines(*, keeps: bool) -> None:
    with question(environ=environment(TERM="dumb"), left=True, keeps=keeps) as screen:
        screen.window.expect(b"Enter for j: ")
        screen.window.send(b"join\n\n")
        assert end(screen) == 0
        assert screen.lines[-2:] == ['answer: "j"', "read: b''"]


def test_what_is_no_word_is_told_where_there_are_only_lines() -> None:
    with question(environ=environment(TERM="dumb")) as screen:
        screen.window.expect(b"Enter for j: ")
        screen.window.send(b"jion\n")
        screen.window.expect(b"jion: not one of these")
        screen.window.expect(b"Enter for j: ")
        screen.window.send(b"quit\n")
        assert end(screen) == 130
        assert screen.lines[-1] == "nssh: cancelled"
