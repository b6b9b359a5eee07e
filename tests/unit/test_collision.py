"""The decision about live sessions: every combination, and what holds for all of them."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import UsageError
from nssh.meeting.collision import Action, Decision, check_new, decide, describe, foremost
from nssh.meeting.liveness import Liveness, State
from nssh.state.records import Record

JOIN, REPLACE, NEW, ASK = Action.JOIN, Action.REPLACE, Action.NEW, Action.ASK
WELL = [State.ALIVE, State.STANDBY, State.STARTING, State.UNKNOWN]

# wish, how the other answers, somebody to ask: what is done.
TABLE = [
    *(("", state, True, Decision(ASK, JOIN)) for state in [*WELL, State.BUS_DOWN]),
    ("", State.WEDGED, True, Decision(ASK, REPLACE)),
    *(("", state, False, Decision(JOIN)) for state in WELL),
    *(("", state, False, Decision(JOIN, warn=True)) for state in (State.WEDGED, State.BUS_DOWN)),
    *(("join", state, asked, Decision(JOIN)) for state in WELL for asked in (True, False)),
    *(
        ("join", state, asked, Decision(JOIN, warn=True))
        for state in (State.WEDGED, State.BUS_DOWN)
        for asked in (True, False)
    ),
    *(("replace", state, asked, Decision(REPLACE)) for state in State for asked in (True, False)),
    *(("new", state, asked, Decision(NEW)) for state in State for asked in (True, False)),
]


@pytest.mark.parametrize(("wish", "state", "asked", "decision"), TABLE)
def test_the_table(wish: str, state: State, decision: Decision, *, asked: bool) -> None:
    assert decide(wish, state, interactive=asked, pinned=False) == decision
    if wish == "new":
        with pytest.raises(UsageError, match="pins"):
            decide(wish, state, interactive=asked, pinned=True)
    else:
        assert decide(wish, state, interactive=asked, pinned=True) == decision


def test_the_table_is_complete() -> None:
    cells = {(wish, state, asked) for wish, state, asked, _ in TABLE}
    assert cells == set(itertools.product(["", "join", "replace", "new"], State, [True, False]))
    assert len(cells) == len(TABLE)


def test_a_new_topic_is_refused_where_one_is_pinned_even_without_another_session() -> None:
    check_new(pinned=False)
    with pytest.raises(UsageError):
        check_new(pinned=True)


@pytest.mark.parametrize(
    ("states", "first"),
    [
        ([State.ALIVE], 0),
        ([State.STANDBY, State.ALIVE, State.STANDBY], 1),
        ([State.STANDBY, State.WEDGED], 1),
        ([State.WEDGED, State.ALIVE], 1),
        ([State.WEDGED, State.BUS_DOWN], 1),
        ([State.STARTING, State.STARTING], 0),
        ([State.BUS_DOWN, State.STARTING], 1),
        ([State.UNKNOWN, State.STANDBY], 1),
        ([State.WEDGED, State.WEDGED], 0),
    ],
)
def test_who_counts_is_who_acts(states: list[State], first: int) -> None:
    """A stand-by that is well says nothing of the wedged holder of the lease before it."""
    assert foremost([Liveness(state) for state in states]) == first


@given(st.lists(st.sampled_from(State), min_size=1, max_size=8))
def test_one_that_acts_always_comes_first(states: list[State]) -> None:
    chosen = states[foremost([Liveness(state) for state in states])]
    if State.ALIVE in states:
        assert chosen is State.ALIVE
    elif State.WEDGED in states and not {State.STARTING, State.BUS_DOWN} & set(states):
        assert chosen is State.WEDGED


def test_a_session_is_described_in_one_line() -> None:
    record = Record(os.getpid(), "devbox", "", "nssh_secret", "relay", "", "", role="leader", transport="mosh")
    line = describe(record, Liveness(State.ALIVE, 0.043), 7384)
    assert line == f"pid {os.getpid()}, devbox, mosh, leader, up 2h3m4s, answers in 43 ms"
    line = describe(record._replace(role="", transport=""), Liveness(State.WEDGED, reason="it is suspended"), 5)
    assert line == f"pid {os.getpid()}, devbox, up 5s, does not answer: it is suspended"
