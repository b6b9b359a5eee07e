"""The decision about live sessions: every combination, and what holds for all of them."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import UsageError
from nssh.meeting.join_or_replace import Action, Decision, check_new, decide, describe, foremost
from nssh.meeting.liveness import Liveness, SessionState
from nssh.state.session_records import Record

JOIN, REPLACE, NEW, ASK = Action.JOIN, Action.REPLACE, Action.NEW, Action.ASK
WELL = [SessionState.ALIVE, SessionState.STANDBY, SessionState.STARTING, SessionState.UNKNOWN]

# wish, how the other answers, somebody to ask: what is done.
TABLE = [
    *(("", state, True, Decision(ASK, JOIN)) for state in [*WELL, SessionState.BUS_DOWN]),
    ("", SessionState.WEDGED, True, Decision(ASK, REPLACE)),
    *(("", state, False, Decision(JOIN)) for state in WELL),
    *(("", state, False, Decision(JOIN, warn=True)) for state in (SessionState.WEDGED, SessionState.BUS_DOWN)),
    *(("join", state, asked, Decision(JOIN)) for state in WELL for asked in (True, False)),
    *(
        ("join", state, asked, Decision(JOIN, warn=True))
        for state in (SessionState.WEDGED, SessionState.BUS_DOWN)
        for asked in (True, False)
    ),
    *(("replace", state, asked, Decision(REPLACE)) for state in SessionState for asked in (True, False)),
    *(("new", state, asked, Decision(NEW)) for state in SessionState for asked in (True, False)),
]


@pytest.mark.parametrize(("wish", "state", "asked", "decision"), TABLE)
def test_the_table(wish: str, state: SessionState, decision: Decision, *, asked: bool) -> None:
    assert decide(wish, state, interactive=asked, pinned=False) == decision
    if wish == "new":
        with pytest.raises(UsageError, match="pins"):
            decide(wish, state, interactive=asked, pinned=True)
    else:
        assert decide(wish, state, interactive=asked, pinned=True) == decision


def test_the_table_is_complete() -> None:
    cells = {(wish, state, asked) for wish, state, asked, _ in TABLE}
    assert cells == set(itertools.product(["", "join", "replace", "new"], SessionState, [True, False]))
    assert len(cells) == len(TABLE)


def test_a_new_topic_is_refused_where_one_is_pinned_even_without_another_session() -> None:
    check_new(pinned=False)
    with pytest.raises(UsageError):
        check_new(pinned=True)


@pytest.mark.parametrize(
    ("states", "first"),
    [
        ([SessionState.ALIVE], 0),
        ([SessionState.STANDBY, SessionState.ALIVE, SessionState.STANDBY], 1),
        ([SessionState.STANDBY, SessionState.WEDGED], 1),
        ([SessionState.WEDGED, SessionState.ALIVE], 1),
        ([SessionState.WEDGED, SessionState.BUS_DOWN], 1),
        ([SessionState.STARTING, SessionState.STARTING], 0),
        ([SessionState.BUS_DOWN, SessionState.STARTING], 1),
        ([SessionState.UNKNOWN, SessionState.STANDBY], 1),
        ([SessionState.WEDGED, SessionState.WEDGED], 0),
    ],
)
def test_who_counts_is_who_acts(states: list[SessionState], first: int) -> None:
    """A stand-by that is well says nothing of the wedged holder of the lease before it."""
    assert foremost([Liveness(state) for state in states]) == first


@given(st.lists(st.sampled_from(SessionState), min_size=1, max_size=8))
def test_one_that_acts_always_comes_first(states: list[SessionState]) -> None:
    chosen = states[foremost([Liveness(state) for state in states])]
    if SessionState.ALIVE in states:
        assert chosen is SessionState.ALIVE
    elif SessionState.WEDGED in states and not {SessionState.STARTING, SessionState.BUS_DOWN} & set(states):
        assert chosen is SessionState.WEDGED


def test_a_session_is_described_in_one_line() -> None:
    basis = Record(os.getpid(), "devbox", "", "nssh_secret", "relay", "", "", birth="1")
    record = basis._replace(role="leader", transport="mosh")
    line = describe(record, Liveness(SessionState.ALIVE, 0.043), 7384)
    assert line == f"pid {os.getpid()}, devbox, mosh, leader, up 2h3m4s, answers in 43 ms"
    line = describe(record._replace(role="", transport=""), Liveness(SessionState.WEDGED, reason="it is suspended"), 5)
    assert line == f"pid {os.getpid()}, devbox, up 5s, does not answer: it is suspended"


def test_a_session_of_the_go_program_is_described_as_such() -> None:
    record = Record(
        7, "devbox", "devbox", "nssh_secret", "https://me:pw@ntfy.example/x", "", "/x/nssh.nssh_secret.jsonl"
    )
    line = describe(record, Liveness(SessionState.ALIVE, 0.043), 7384)
    assert line == "pid 7, devbox, the Go program's on https://ntfy.example/x, up 2h3m4s, answers in 43 ms"
