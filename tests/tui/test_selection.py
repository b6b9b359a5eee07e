"""What keys do to a selection: examples, and a state machine against a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nssh.base.errors import Cancelled
from nssh.tui import Row
from nssh.tui._selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86400.0


def row(pid: int, *, seconds: float = 0.0, detached: bool = False, spared: str = "", host: str = "alpha") -> Row:
    return Row(host, pid, "", "", seconds=seconds, detached=detached, spared=spared)


ROWS = [
    row(100, seconds=3 * DAY),
    row(101, seconds=2 * DAY, detached=True),
    row(1010, seconds=2 * DAY, detached=True, spared="yours"),
    row(7, seconds=DAY),
    row(8, detached=True),
    row(7000, host="alpha"),
    row(7000, host="beta", seconds=2 * DAY),
]


def typed(*keys: str) -> Selection:
    selection = Selection(ROWS)
    for key in keys:
        assert not selection.press(key)
    return selection


@pytest.mark.parametrize(
    ("keys", "chosen", "message"),
    [
        ([" "], {0}, ""),
        ([" ", " "], set(), ""),
        (["down", " ", "down", "down", " "], {1, 3}, ""),
        (["a"], {0, 1, 3, 4, 5, 6}, ""),
        (["A"], {0, 1, 3, 4, 5, 6}, ""),
        (["a", "n"], set(), ""),
        (["o"], {0, 1, 6}, ""),
        (["d"], {1, 4}, ""),
        (["d", "o"], {0, 1, 4, 6}, ""),
        ([*"old"], {0, 1, 6}, "only the first letter of a word counts here"),
        ([*"Older"], {0, 1, 6}, "only the first letter of a word counts here"),
        ([*"detached"], {1, 4}, "only the first letter of a word counts here"),
        ([*"yoda"], set(), "only the first letter of a word counts here"),
        ([*"old", "down", "d"], {0, 1, 4, 6}, ""),
        ([*"none"], set(), "only the first letter of a word counts here"),
        ([*"10k", "c-m"], set(), "nothing is selected"),
        (["down", "down", " "], set(), "PID 1010 is spared: yours"),
        ([*"101", " "], {1}, ""),
        ([*"101", "c-m"], {1}, ""),
        ([*"101", "c-m", *"101", "c-m"], set(), ""),
        ([*"1010", "c-m"], set(), "PID 1010 is spared: yours"),
        ([*"1010", "c-h", "c-m"], {1}, ""),
        ([*"10", "c-m"], set(), "there is no PID 10"),
        ([*"007", "c-m"], set(), "there is no PID 007"),
        ([*"7000", "c-m"], set(), "PID 7000 is on alpha and beta: mark one of them, and select it with space"),
        ([*"7000", "c-m", "down", " "], {6}, ""),
        ([*"101", "down", " "], {2} - {2}, "PID 1010 is spared: yours"),
        ([*"101", "a"], {0, 1, 3, 4, 5, 6}, ""),
        (["c-m"], set(), "nothing is selected"),
        (["c-h", "c-h", "down"], set(), ""),
    ],
)
def test_keys(keys: list[str], chosen: set[int], message: str) -> None:
    selection = typed(*keys)
    assert selection.chosen == chosen
    assert selection.message == message


def test_a_message_lasts_until_the_next_key() -> None:
    assert typed("c-m").message == "nothing is selected"
    assert typed("c-m", "down").message == ""


@pytest.mark.parametrize(("key", "message"), [("o", "nothing is older than 24 h"), ("d", "nothing is detached")])
def test_nothing_of_the_kind(key: str, message: str) -> None:
    selection = Selection([row(1, seconds=DAY), row(2, seconds=2 * DAY, detached=True, spared="yours")])
    assert not selection.press(key)
    assert selection.message == message


def test_a_typed_pid_is_marked_as_far_as_it_is_known() -> None:
    assert typed("7").at == 3
    assert typed("7", "0").at == 5
    assert typed("down", "9").at == 1


@pytest.mark.parametrize("enter", ["c-m", "c-j"])
def test_enter_takes_what_is_selected(enter: str) -> None:
    selection = typed("down", " ")
    assert selection.press(enter)
    assert selection.chosen == {1}


def test_enter_behind_a_pid_is_about_the_pid() -> None:
    selection = typed("down", " ", "8", "c-m")
    assert selection.chosen == {1, 4}
    assert selection.press("c-m")


@pytest.mark.parametrize("key", ["q", "Q"])
def test_q_cancels(key: str) -> None:
    with pytest.raises(Cancelled):
        typed("a").press(key)


def test_pages() -> None:
    selection = Selection([row(number) for number in range(1, 101)])
    assert selection.draw_from(0, 10) == 0
    assert [step(selection, key) for key in ("pagedown", "pagedown", "pageup", "end", "pagedown", "home", "up")] == [
        10, 20, 10, 99, 99, 0, 0,
    ]  # fmt: skip


def step(selection: Selection, key: str) -> int:
    selection.press(key)
    return selection.at


@given(at=st.integers(0, 30), rows=st.integers(1, 30), first=st.integers(0, 60), height=st.integers(1, 40))
def test_the_marked_row_is_always_shown_and_no_room_is_wasted(at: int, rows: int, first: int, height: int) -> None:
    selection = Selection([row(number + 1) for number in range(rows)])
    selection.at = min(at, rows - 1)
    start = selection.draw_from(first, height)
    assert 0 <= start <= selection.at < start + height
    assert start == 0 or start + height <= rows


# A state machine.

A_ROW = st.builds(
    row,
    pid=st.sampled_from([1, 2, 10, 11, 12, 101, 1011, 2147483647]),
    seconds=st.sampled_from([0.0, DAY, DAY + 1, 9 * DAY]),
    detached=st.booleans(),
    spared=st.sampled_from(["", "", "yours"]),
    host=st.sampled_from(["alpha", "beta"]),
)


class Keys(RuleBasedStateMachine):
    """Any keys on any list; what is selected is kept in words of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.selection = Selection([row(1)])
        self.chosen: set[int] = set()

    @initialize(rows=st.lists(A_ROW, min_size=1, max_size=12))
    def begin(self, rows: list[Row]) -> None:
        self.rows = rows
        self.selection = Selection(rows)

    def free(self) -> set[int]:
        return {number for number, one in enumerate(self.rows) if not one.spared}

    @rule(key=st.sampled_from(["up", "down", "pageup", "pagedown", "home", "end"]))
    def move(self, key: str) -> None:
        before = self.selection.at
        assert not self.selection.press(key)
        forward = key in {"down", "pagedown", "end"}
        assert self.selection.at >= before if forward else self.selection.at <= before
        assert self.selection.typed == ""

    @rule(key=st.sampled_from("aodnAODN"))
    def many(self, key: str) -> None:
        assert not self.selection.press(key)
        kinds: dict[str, Callable[[Row], bool]] = {
            "a": lambda _: True,
            "o": lambda one: one.seconds > DAY,
            "d": lambda one: one.detached,
            "n": lambda _: False,
        }
        found = {number for number in self.free() if kinds[key.lower()](self.rows[number])}
        self.chosen = set() if key.lower() == "n" else self.chosen | found

    @rule(digits=st.text("0123456789", min_size=1, max_size=12))
    def type(self, digits: str) -> None:
        for digit in digits:
            assert not self.selection.press(digit)

    @rule()
    def backspace(self) -> None:
        before = self.selection.typed
        assert not self.selection.press("c-h")
        assert self.selection.typed == before[:-1]

    @rule(data=st.data())
    def type_a_pid(self, data: st.DataObject) -> None:
        while self.selection.typed:
            self.selection.press("c-h")
        one = data.draw(st.sampled_from(self.rows))
        for digit in str(one.pid):
            assert not self.selection.press(digit)
        assert str(self.rows[self.selection.at].pid) == str(one.pid)

    @rule(enter=st.sampled_from(["c-m", "c-j", " "]))
    @precondition(lambda self: self.selection.typed)
    def finish_a_pid(self, enter: str) -> None:
        found = [number for number, one in enumerate(self.rows) if str(one.pid) == self.selection.typed]
        assert not self.selection.press(enter)
        if len(found) == 1 and not self.rows[found[0]].spared:
            self.chosen ^= set(found)
            assert self.selection.message == ""
        else:
            assert self.selection.message

    @rule()
    @precondition(lambda self: not self.selection.typed)
    def space(self) -> None:
        at = self.selection.at
        assert not self.selection.press(" ")
        self.chosen ^= {at} & self.free()

    @rule()
    @precondition(lambda self: not self.selection.typed)
    def enter(self) -> None:
        done = self.selection.press("c-m")
        assert done == bool(self.chosen)
        assert done == (self.selection.message != "nothing is selected")

    @rule()
    def quit(self) -> None:
        with pytest.raises(Cancelled):
            self.selection.press("q")

    @invariant()
    def nothing_else_is_selected(self) -> None:
        assert self.selection.chosen == self.chosen
        if self.rows:
            assert self.chosen <= self.free()
            assert 0 <= self.selection.at < len(self.rows)
        assert len(self.selection.typed) <= 10


Keys.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestKeys = Keys.TestCase
