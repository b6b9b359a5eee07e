"""The question that one key answers, on a real terminal, as the user sees it."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import UsageError
from nssh.tui import Option, choose
from tests.tui.question import LINES, OPTIONS, SHOWN, assert_cancelled, end, is_shown, marked, question
from tests.tui.window import environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real  # each test is a program on a terminal of its own


UP, DOWN, LEFT, RIGHT = b"\x1b[A", b"\x1b[B", b"\x1b[D", b"\x1b[C"
SGR = re.compile(rb"\x1b\[([0-9;:]*)m")


def test_the_question_as_it_is_shown() -> None:
    with question() as screen:
        assert screen.wait("connect to nothing") == SHOWN
        assert screen.reversed == [SHOWN[2]]
        assert not screen.cursor_shown
        assert not screen.window.echo
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines == ["me@devbox is connected already (me@devbox:22): Join", 'answer: "j"']


def test_what_stood_on_the_screen_before_stays() -> None:
    with question(before="first\nsecond\n") as screen:
        assert screen.wait("connect to nothing")[:3] == ["first", "second", LINES[0]]
        screen.window.send(b"r")
        assert end(screen) == 0
        assert screen.lines[:2] == ["first", "second"]
        assert len(screen.lines) == 4


@pytest.mark.parametrize("rows", [6, 7, 10])
def test_at_the_bottom_of_the_window_the_rest_scrolls_up(rows: int) -> None:
    with question(before="line\n" * 30, rows=rows) as screen:
        screen.wait(lambda lines: lines[-6:] == SHOWN)
        screen.window.send(DOWN)
        screen.wait(lambda lines: marked("Replace")(lines) and lines[-6:-4] == LINES)
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines[-2:] == [f"{LINES[0][:-1]}: Replace", 'answer: "r"']


@pytest.mark.parametrize(("default", "label", "key"), [(0, "Join", "j"), (1, "Replace", "r")])
@pytest.mark.parametrize("enter", [b"\r", b"\n"])
def test_enter_takes_the_default(default: int, label: str, key: str, enter: bytes) -> None:
    with question(default) as screen:
        screen.wait(marked(label))
        screen.window.send(enter)
        assert end(screen) == 0
        assert screen.lines[-1] == f'answer: "{key}"'


@pytest.mark.parametrize("key", ["j", "r", "n", "c", "J", "R", "N", "C"])
def test_one_key_decides(key: str) -> None:
    with question(1) as screen:
        screen.wait("Cancel")
        screen.window.send(key.encode())
        assert end(screen) == 0
        assert screen.lines[-1] == f'answer: "{key.lower()}"'


def test_arrows_mark_another_option_round_and_round() -> None:
    labels = [option[1] for option in OPTIONS]
    with question() as screen:
        screen.wait(marked("Join"))
        for key, step in [
            (DOWN, 1),
            (RIGHT, 1),
            (DOWN, 1),
            (DOWN, 1),
            (UP, -1),
            (LEFT, -1),
            (b"\x1bOA", -1),
            (b"\t", 1),
        ]:
            labels = labels[step:] + labels[:step]
            screen.window.send(key)
            screen.wait(marked(labels[0]))
            assert len(screen.reversed) == 1
            assert labels[0] in screen.reversed[0]
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines[-1] == 'answer: "n"'


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"\x1b"])
def test_cancelling(key: bytes) -> None:
    with question() as screen:
        screen.wait("Cancel")
        screen.window.send(key)
        assert_cancelled(screen)


def test_unknown_keys_reports_of_the_terminal_and_what_is_pasted_are_no_answer() -> None:
    with question() as screen:
        screen.wait(marked("Join"))
        for keys in (
            b"xyz?! \x01\x0c\x1a\x1c",
            "äß漢".encode(),
            b"\xff\xfe",
            b"\x1bj\x1br\x1b\x0d",  # Alt with a key
            b"\x1b[15~\x1b[1;5C\x1b[106u\x1b[99;5u\x1b[[A\x1bOP",  # keys of many kinds
            b"\x1b[I\x1b[O",  # focus
            b"\x1b[M !!\x1b[<0;10;10M\x1b[<0;10;10m",  # a mouse
            b"\x1b[?62;c\x1b[12;40R\x1b[0n\x1b[?2026;2$y",
            b"\x1b]11;rgb:0000/rrrr/cccc\x1b\\\x1b]11;rgb:0000/rrrr/cccc\x07\x1bP>|nrcj(1)\x1b\\",
            b"\x1b[200~rcn\rjr\x1b[201~",
        ):
            screen.window.send(keys)
        screen.window.send(DOWN)
        assert marked("Replace")(screen.wait(marked("Replace")))
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines[-1] == 'answer: "r"'


def test_a_sequence_that_comes_byte_by_byte_is_one_key() -> None:
    with question() as screen:
        screen.wait(marked("Join"))
        for byte in b"\x1b[B":
            screen.window.send(bytes([byte]))
        screen.wait(marked("Replace"))
        screen.window.send(b"c")
        assert end(screen) == 0


def test_what_is_typed_behind_the_answer_is_for_the_session() -> None:
    with question(reads=13) as screen:
        screen.wait("Cancel")
        screen.window.send(b"jrn\x1b[A\x03\x04ls -l\r")
        assert end(screen) == 0
        assert screen.lines[-2] == 'answer: "j"'
        assert screen.lines[-1] == r"read: b'rn\x1b[A\x03\x04ls -l\r'"


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
@pytest.mark.parametrize("early", [b"r", b"r\r", b"\r", b"\x1b[B\r", b"make run\rr"])
def test_what_was_typed_before_the_question_is_no_answer(early: bytes, term: str) -> None:
    with question(waits=True, environ=environment(TERM=term), reads=6) as screen:
        screen.window.send(b"go\n" + early)
        screen.wait("Enter for j:" if term == "dumb" else marked("Join"))
        screen.window.send(b"n\r"[: 2 if term == "dumb" else 1] + b"ls -l\n")
        assert end(screen) == 0
        assert screen.lines[-2] == 'answer: "n"'
        assert screen.lines[-1] == r"read: b'ls -l\n'", "what is typed behind the answer is kept"


def test_a_late_answer_where_the_cursor_is_does_not_matter() -> None:
    with question() as screen:
        screen.wait("Cancel")
        screen.window.send(b"\x1b[5;1Rn")
        assert end(screen) == 0
        assert screen.lines[-1] == 'answer: "n"'


# The window.


@pytest.mark.parametrize("reflows", [True, False])
@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (
            24,
            40,
            [
                "me@devbox is connected already",
                "(me@devbox:22):",
                "  pid 1234, devbox, mosh, up 2h, answers",
                "  in 43 ms",
                "  j  Join       share clipboard and bro…",
                "> r  Replace    end it and go on here",
                "  n  New topic  leave it alone",
                "  c  Cancel     connect to nothing",
            ],
        ),
        (
            24,
            20,
            [
                "me@devbox is",
                "connected already",
                "(me@devbox:22):",
                "  pid 1234, devbox,",
                "  mosh, up 2h,",
                "  answers in 43 ms",
                "  j  Join",
                "> r  Replace",
                "  n  New topic",
                "  c  Cancel",
            ],
        ),
        (5, 20, ["me@devbox is connec…", "  j  Join", "> r  Replace", "  n  New topic", "  c  Cancel"]),
        (6, 30, ["me@devbox is connected alread…", "  pid 1234, devbox, mosh, up …", "  j  Join       share clipboa…",
                 "> r  Replace    end it and go…", "  n  New topic  leave it alone", "  c  Cancel     connect to no…"]),
        (3, 20, ["me@devbox is connec…", "  j  Join", "> r  Replace"]),
        (1, 20, ["> r  Replace"]),
        (30, 120, [*LINES, f" {SHOWN[2][1:]}", f">{SHOWN[3][1:]}", *SHOWN[4:]]),
    ],
)  # fmt: skip
def test_a_window_that_becomes_another_size(rows: int, columns: int, expected: list[str], *, reflows: bool) -> None:
    with question(1, reflows=reflows) as screen:
        screen.wait(marked("Replace"))
        screen.resize(rows, columns)
        screen.wait(is_shown(expected))
        screen.window.send(b"\r")
        assert end(screen) == 0


@pytest.mark.parametrize(("rows", "columns"), [(5, 20), (5, 80), (24, 20), (24, 40), (2, 10), (1, 1), (0, 0)])
def test_a_small_window_from_the_start(rows: int, columns: int) -> None:
    with question(rows=rows, columns=columns) as screen:
        screen.window.expect(b"\x1b[?25l")
        screen.window.send(DOWN + b"\r")
        assert screen.window.wait() == 0
        assert screen.window.attributes() == screen.window.initial
        assert b'"r"' in screen.window.output


def test_in_few_rows_the_marked_option_is_among_those_shown() -> None:
    with question(rows=3, columns=40) as screen:
        for label in ("Join", "Replace", "New topic", "Cancel", "Join"):
            screen.wait(marked(label))
            assert len(screen.lines) == 3
            assert screen.lines[0].startswith("me@devbox")
            screen.window.send(DOWN)
        screen.window.send(b"\x03")
        assert end(screen) == 130


def test_more_lines_than_there_is_room_for_are_counted() -> None:
    with question(lines=["End these?", *(f"server   {number}" for number in range(100))], rows=10) as screen:
        lines = screen.wait("Cancel")
        assert lines[:6] == ["End these?", *(f"server   {number}" for number in range(4)), "  and 96 more"]
        assert len(lines) == 10
        screen.window.send(b"\r")
        assert end(screen) == 0


@pytest.mark.parametrize("value", ["1", "x"])
def test_without_colour(value: str) -> None:
    with question(environ=environment(NO_COLOR=value)) as screen:
        screen.wait(marked("Join"))
        screen.window.send(DOWN)
        screen.wait(marked("Replace"))
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert set(SGR.findall(screen.window.output)) <= {b"", b"0"}


def test_never_a_colour() -> None:
    with question() as screen:
        screen.wait(marked("Join"))
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert set(SGR.findall(screen.window.output)) == {b"0", b"0;7"}


def test_text_of_others_is_harmless() -> None:
    hostile = [
        "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe",
        f"a\ud800b {'x' * 5000}",
        "漢字" * 3 + " e\u0301\u2764\ufe0f",
    ]
    with question(lines=hostile, columns=60) as screen:
        lines = screen.wait("Cancel")
        assert lines[0] == "?]0;owned??[2J?31m?gnp.exe"
        assert lines[1] == "a?b"
        assert lines[2] == "x" * 59 + "…"
        assert all(len(line) <= 60 for line in lines)
        assert b"\x1b]0" not in screen.window.output
        assert b"\x1b[2J" not in screen.window.output
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert b"\x1b]0" not in screen.window.output


def test_a_terminal_of_another_character_set() -> None:
    with question(
        lines=["dev\u00fcbox \u6f22 is connected"], environ=environment(PYTHONIOENCODING="iso8859-1")
    ) as screen:
        screen.window.expect(b"dev\xfcbox ? is connected")
        screen.window.send(b"\r")
        assert screen.window.wait() == 0
        assert b"\xc3" not in screen.window.output


def test_standard_output_may_go_elsewhere(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+b") as file:
        with question(redirect={1: file.fileno()}) as screen:
            screen.wait(marked("Join"))
            screen.window.send(b"n")
            assert end(screen) == 0
            assert screen.lines == ["me@devbox is connected already (me@devbox:22): New topic"]
        file.seek(0)
        assert file.read() == b'answer: "n"\n'


@pytest.mark.parametrize("number", [0, 2])
def test_without_a_terminal_nobody_is_asked(number: int) -> None:
    fd = os.open(os.devnull, os.O_RDWR)
    try:
        with question(redirect={number: fd}) as screen:
            assert screen.window.wait() == 2
            assert b"\x1b" not in screen.window.output
    finally:
        os.close(fd)


def test_without_a_terminal_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: False)
    with pytest.raises(UsageError, match="no terminal to ask at"):
        choose(["?"], [Option("y", "Yes")], 0)


# Lines.


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
@pytest.mark.parametrize(
    ("typed", "answer"),
    [(b"\n", "r"), (b"n\n", "n"), (b"what?\n\xff\nJoin\n", "j"), (b" NEW TOPIC \n", "n"), (b"c\n", "c")],
)
def test_a_terminal_that_only_has_lines(term: str, typed: bytes, answer: str) -> None:
    with question(1, environ=environment(TERM=term)) as screen:
        screen.window.expect(b"j/r/n/c, or Enter for r: ")
        screen.window.send(typed)
        assert end(screen) == 0
        assert screen.lines[-1] == f'answer: "{answer}"'
        assert screen.lines[:3] == [*LINES, "  j  Join (share clipboard and browser with it)"]
        assert b"\x1b" not in screen.window.output


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])
def test_cancelling_where_there_are_only_lines(key: bytes) -> None:
    with question(environ=environment(TERM="dumb")) as screen:
        screen.window.expect(b"Enter for j: ")
        screen.window.send(key)
        if key == b"\x03":
            assert end(screen) == -signal.SIGINT  # nobody has told the program to survive it
            assert screen.window.output.endswith(b"\n")  # the shell's prompt has a line of its own
        else:
            assert end(screen) == 130
            assert screen.lines[-1] == "nssh: cancelled"


def test_what_is_typed_behind_a_line_is_for_the_session() -> None:
    with question(environ=environment(TERM="dumb"), reads=6) as screen:
        screen.window.expect(b"Enter for j: ")
        screen.window.send(b"n\nls -l\n")
        assert end(screen) == 0
        assert screen.lines[-1] == r"read: b'ls -l\n'"


# Ends.
