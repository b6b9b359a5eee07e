"""The selection of many, on a real terminal, as the user sees it."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from nssh.tui import Row, _text
from nssh.tui._selection_screen import SelectionScreen
from tests.tui.window import asking, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.lab.screen import Screen

TITLE = "Which mosh-servers are to be ended?"
DAY = 86400.0
SGR = re.compile(rb"\x1b\[([0-9;:]*)m")
DOWN, PAGE_DOWN, PAGE_UP, HOME, END = b"\x1b[B", b"\x1b[6~", b"\x1b[5~", b"\x1b[H", b"\x1b[F"


def server(pid: int, days: float = 0.0, **more: Any) -> dict[str, Any]:
    words = {
        "host": "devbox",
        "age": f"{days:g}d",
        "state": "attached",
        "client": "192.0.2.7",
        "idle": "2h5m",
        "runs": "vim",
    }
    return {**words, "pid": pid, "seconds": days * DAY, **more}


FEW = [
    server(1001, 9, state="detached", detached=True, client="-"),
    server(1002, 8, spared="your own session"),
    server(1003, 0.5, state="unknown", client="-", idle="-", runs="-"),
]
MANY = [server(1000 + number, 200 - number, state=f"state {number}") for number in range(200)]


def selection(servers: list[dict[str, Any]], **options: Any) -> AbstractContextManager[Screen]:
    return asking("select", TITLE, servers, **options)


def is_shown(rows: int, expected: list[str]) -> Callable[[list[str]], bool]:
    """Return whether a screen is full, with lines that begin so."""
    return lambda lines: len(lines) == rows and all(map(str.startswith, lines, expected))


def is_marked(screen: Screen, rows: int, row: str) -> Callable[[list[str]], bool]:
    """Return whether a screen is full, and exactly one row that begins so is marked."""
    return lambda lines: len(lines) == rows and [line[: len(row)] for line in screen.reversed] == [row]


def end(screen: Screen) -> int:
    code = screen.window.wait()
    assert screen.window.attributes() == screen.window.initial
    assert b"\x1b[6n" not in screen.window.output
    assert screen.window.output.count(b"\x1b[?1049h") == screen.window.output.count(b"\x1b[?1049l")
    assert screen.cursor_shown
    return code


def test_the_list_as_it_is_shown() -> None:
    with selection(FEW, rows=10, columns=110) as screen:
        assert screen.wait("cancel") == [
            TITLE,
            "      PID   AGE   STATE     CLIENT     IDLE  RUNS",
            "> [ ] 1001  9d    detached  -          2h5m  vim",
            "   -  1002  8d    attached  192.0.2.7  2h5m  spared: your own session",
            "  [ ] 1003  0.5d  unknown   -          -     -",
            "",
            "",
            "",
            "1/3, 0 selected of 3",
            "space: select, a: all, o: older than 24 h, d: detached, n: none, digits: a PID, Enter: go on, Esc: cancel",
        ]
        assert screen.reversed == ["> [ ] 1001  9d    detached  -          2h5m  vim"]
        assert b"\x1b[?1049h" in screen.window.output  # what was on the screen comes back afterwards
        screen.window.send(b" ")
        screen.wait("1/3, 1 selected of 3")
        assert screen.lines[2].startswith("> [x] 1001")
        screen.window.send(DOWN + b" ")
        screen.wait("PID 1002 is spared: your own session, 2/3, 1 selected of 3")
        screen.window.send(b"1003")
        screen.wait("PID 1003, 3/3, 1 selected of 3")
        screen.window.send(b"\r")
        screen.wait(lambda lines: lines[8] == "3/3, 2 selected of 3")
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines == ["Which mosh-servers are to be ended: 2 selected of 3", "answer: [0, 2]"]


def test_hosts_have_a_column_where_there_are_several() -> None:
    with selection([*FEW, server(1001, host="other")], rows=12) as screen:
        lines = screen.wait("1/4")
        assert lines[1].startswith("      HOST    PID ")
        assert lines[5].startswith("  [ ] other   1001")
        screen.window.send(b"1001\r")
        screen.wait("PID 1001 is on devbox and other: mark one of them")
        screen.window.send(b"\x03")
        assert end(screen) == 130


def test_two_hundred_on_ten_rows() -> None:
    with selection(MANY, rows=10, columns=80) as screen:
        screen.wait("1/200, 0 selected of 200")
        for keys, at, first in [
            (DOWN * 5, 6, 1),
            (DOWN, 7, 2),
            (PAGE_DOWN, 13, 8),
            (PAGE_DOWN, 19, 14),
            (PAGE_UP, 13, 13),
            (b"\x1b[A" * 2, 11, 11),
            (END, 200, 195),
            (DOWN, 200, 195),
            (HOME, 1, 1),
            (b"1149", 150, 145),
        ]:
            screen.window.send(keys)
            lines = screen.wait(f"{at}/200, 0 selected of 200")
            assert len(lines) == 10
            assert lines[0] == TITLE
            assert [int(line[6:10]) for line in lines[2:8]] == list(range(999 + first, 1005 + first))
            assert [line[:10] for line in screen.reversed] == [f"> [ ] {999 + at}"]
        screen.window.send(b"\rn\x1b[Ho")
        screen.wait("1/200, 199 selected of 200")
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert f"answer: {list(range(199))}".encode() in screen.window.output


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"\x1b", b"q", b"Q"])
def test_cancelling_selects_nothing(key: bytes) -> None:
    with selection(MANY, rows=10) as screen:
        screen.wait("1/200")
        screen.window.send(b"a")
        screen.wait("200 selected")
        screen.window.send(key)
        assert end(screen) == 130
        assert screen.lines == ["nssh: cancelled"]


def test_enter_with_nothing_selected_goes_on() -> None:
    with selection(FEW, rows=10) as screen:
        screen.wait("1/3")
        screen.window.send(b"\r")
        screen.wait("nothing is selected, 1/3, 0 selected of 3")
        screen.window.send(b"d\r")
        assert end(screen) == 0
        assert screen.lines[-1] == "answer: [0]"


def test_keys_behind_enter_stay_and_unknown_ones_do_nothing() -> None:
    with selection(FEW, rows=10, reads=5) as screen:
        screen.wait("1/3")
        screen.window.send(b"xyz!\x1b[15~\x1b[200~a\r\x1b[201~\x1ba")
        screen.window.send(b" \ra\x03\x1b[A")
        assert end(screen) == 0
        assert screen.lines[-2:] == ["answer: [0]", r"read: b'a\x03\x1b[A'"]


@pytest.mark.parametrize("from_start", [True, False])
@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (10, 40, [TITLE, "      PID   AGE   STATE     ", "> [ ] 1001"]),
        (10, 20, ["Which mosh-servers …", "      PID   AGE", "> [ ] 1001  9d"]),
        (7, 80, [TITLE, "      PID   AGE   STATE     CLIENT     IDLE  RUNS", "> [ ] 1001  9d    detached"]),
        (5, 80, [TITLE, "> [ ] 1001  9d    detached", "   -  1002", "  [ ] 1003", "1/3, 0 selected of 3"]),
        (3, 80, [TITLE, "> [ ] 1001  9d    detached", "1/3, 0 selected of 3"]),
        (2, 80, ["> [ ] 1001  9d    detached", "1/3, 0 selected of 3"]),
        (1, 30, ["> [ ] 1001  9d"]),
        (40, 132, [TITLE, "      PID   AGE   STATE     CLIENT     IDLE  RUNS", "> [ ] 1001  9d    detached"]),
    ],
)
def test_windows_of_all_sizes(rows: int, columns: int, expected: list[str], *, from_start: bool) -> None:
    size = {"rows": rows, "columns": columns} if from_start else {}
    with selection(FEW, **size) as screen:
        if not from_start:
            screen.wait("1/3")
            screen.resize(rows, columns)
        screen.wait(is_shown(rows, expected))
        assert all(len(line) <= columns for line in screen.lines)
        screen.window.send(b" \r")
        assert end(screen) == 0


def test_a_window_that_changes_again_and_again() -> None:
    with selection(MANY, rows=24, columns=80) as screen:
        screen.wait("1/200")
        screen.window.send(b"1150 ")
        screen.wait("1 selected of 200")
        for rows, columns in [(10, 40), (30, 100), (4, 20), (12, 60), (3, 80), (24, 80)]:
            screen.resize(rows, columns)
            screen.wait(is_marked(screen, rows, "> [x] 1150"))
        screen.window.send(b"\r")
        assert end(screen) == 0
        assert screen.lines[-1] == "answer: [150]"


def test_without_colour() -> None:
    with selection(FEW, environ=environment(NO_COLOR="1")) as screen:
        screen.wait("1/3")
        screen.window.send(DOWN + DOWN)
        screen.wait(lambda lines: any(line.startswith("> [ ] 1003") for line in lines))
        screen.window.send(b" \r")
        assert end(screen) == 0
        assert set(SGR.findall(screen.window.output)) <= {b"", b"0"}


def test_never_a_colour() -> None:
    with selection(FEW) as screen:
        screen.wait("1/3")
        screen.window.send(b" \r")
        assert end(screen) == 0
        assert set(SGR.findall(screen.window.output)) <= {b"0", b"0;1", b"0;7"}


def test_what_a_remote_says_is_harmless_and_in_columns() -> None:
    hostile = [
        server(1, host="\u6f22\u5b57", runs="a\x1b]0;x\x07b", client="\u202e" * 3),
        server(2, host="e\u0301e\u0301", runs="\u6f22" * 300, client="y" * 5000),
        server(3, host="\U0001f600", runs="z\u0301\u0302" * 300, state="\x9bs\nt"),
    ]
    with selection(hostile, rows=10, columns=70) as screen:
        lines = screen.wait("1/3")
        assert b"\x1b]0" not in screen.window.output
        assert b"\xc2\x9b" not in screen.window.output
        columns = [screen.column_of(number, pid) for number, pid in [(2, "1"), (3, "2"), (4, "3")]]
        assert columns == [12, 12, 12], lines
        assert lines[-2] == "1/3, 0 selected of 3"
        screen.window.send(b"\x1b")
        assert end(screen) == 130


@pytest.mark.parametrize("columns", range(2, 150, 7))
@pytest.mark.parametrize("rows", [1, 2, 3, 6, 8, 10, 24])
def test_nothing_is_ever_wider_or_higher_than_the_window(rows: int, columns: int) -> None:
    words = [
        {**each, "runs": "\u6f22\u5b57e\u0301" * 9, "host": f"host{number % 3}.example.org"}
        for number, each in enumerate(MANY)
    ]
    view = SelectionScreen(TITLE, [Row(**each) for each in words])
    for key in ("down", "a", "end", "1", "1", "pageup"):
        view.press(key)
        lines = view.draw(rows, columns)
        assert len(lines) == rows
        texts = ["".join(text for _, text in line) for line in lines]
        assert all(_text.width(text) <= columns for text in texts)
        assert sum(text.startswith(">") for text in texts) == 1


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (120, "HOST PID AGE STATE CLIENT IDLE RUNS"),
        (60, "HOST PID AGE STATE IDLE RUNS"),
        (50, "HOST PID AGE STATE RUNS"),
        (40, "HOST PID AGE STATE"),
        (30, "HOST PID AGE"),
        (20, "PID AGE"),
        (12, "PID"),
    ],
)
def test_columns(columns: int, expected: str) -> None:
    rows = [
        Row(
            f"host{number}.example.org", 10000 + number, "12d3h", "detached for 2d3h", "192.0.2.1", "12d3h", "a-program"
        )
        for number in (1, 2)
    ]
    view = SelectionScreen(TITLE, rows)
    head = "".join(text for _, text in view.draw(10, columns)[1])
    assert head.split() == expected.split()


def test_columns_with_nothing_in_them_are_left_out() -> None:
    view = SelectionScreen(
        TITLE, [Row("h", 1, "1s", "unknown", client="-", runs="sh"), Row("h", 2, "1s", "unknown", client="")]
    )
    assert "".join(text for _, text in view.draw(10, 80)[1]).split() == ["PID", "AGE", "STATE", "RUNS"]


# Lines, and ends.


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"1001\n", [0]),
        (b"1003, 1001 1001\n", [0, 2]),
        (b"ALL\n", [0, 2]),
        (b"a\n", [0, 2]),
        (b"older\n", [0]),
        (b"Old\n", [0]),
        (b"o\n", [0]),
        (b"d\n", [0]),
        (b"1001,1003\n", [0, 2]),
        (b"old, 1003\n", [0, 2]),
        (b"1003 none\nall q\n1001\n", [0]),
        (b"detached 1003\n", [0, 2]),
        (b"1002\n999\nall vi\n1003\n", [2]),
    ],
)
def test_a_terminal_that_only_has_lines(typed: bytes, answer: list[int]) -> None:
    with selection(FEW, environ=environment(TERM="dumb")) as screen:
        screen.window.expect(b"for none: ")
        screen.window.send(typed)
        assert end(screen) == 0
        assert screen.lines[-1].endswith(f"answer: {answer}")
        assert screen.lines[2] == "  devbox  1002  8d  attached  192.0.2.7  2h5m  spared: your own session"
        assert b"\x1b" not in screen.window.output
        if b"vi" in typed:
            shown = screen.window.output
            assert b"PID 1002 is spared: your own session\r\n" in shown
            assert b"there is no PID 999\r\n" in shown
            assert b"vi is no PID, and none of these words\r\n" in shown


@pytest.mark.parametrize("typed", [b"\n", b"\x04", b"1002\n\n", b"none\n", b"q\n", b"QUIT\n"])
def test_cancelling_where_there_are_only_lines(typed: bytes) -> None:
    with selection(FEW, environ=environment(TERM="dumb")) as screen:
        screen.window.expect(b"for none: ")
        screen.window.send(typed)
        assert end(screen) == 130


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_what_was_typed_before_the_list_selects_nothing(term: str) -> None:
    with selection(FEW, waits=True, environ=environment(TERM=term)) as screen:
        screen.window.send(b"go\nall\ra\r")
        screen.wait("for none:" if term == "dumb" else "0 selected of 3")
        screen.window.send(b"1003\r" if term == "dumb" else b"1003\r\r")
        assert end(screen) == 0
        assert screen.lines[-1].endswith("answer: [2]")


def test_a_signal_restores_the_terminal() -> None:
    with selection(MANY, rows=10) as screen:
        screen.wait("1/200")
        screen.window.signal(signal.SIGTERM)
        assert end(screen) == -signal.SIGTERM
        assert screen.lines == []


def test_a_window_that_is_closed() -> None:
    with selection(MANY, ignore=["SIGHUP"]) as screen:
        screen.wait("1/200")
        screen.window.hang_up()
        assert screen.window.wait() == 130


def test_without_a_terminal_nobody_is_asked() -> None:
    with open(os.devnull) as nothing, selection(FEW, redirect={0: nothing.fileno()}) as screen:
        assert screen.window.wait() == 2
