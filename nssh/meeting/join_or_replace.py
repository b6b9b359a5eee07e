"""Join, replace or new: what a start does about live sessions of the same target. The decision alone; no terminal."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import UsageError
from nssh.meeting.liveness import SessionState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.meeting.liveness import Liveness
    from nssh.state.records import Record


class Action(enum.StrEnum):
    """What is done."""

    JOIN = "join"  # the same topic; the holder of its lease acts, the others stand by
    REPLACE = "replace"  # the others are ended, and this one goes on where they were
    NEW = "new"  # a fresh topic; the others are left alone
    ASK = "ask"  # the user decides


class Decision(NamedTuple):
    """What to do."""

    action: Action
    default: Action = Action.JOIN
    """What is offered first, where the user is asked."""
    warn: bool = False
    """Whether the session that is joined may not be able to act, which a script should hear of."""


_LIKED = (
    SessionState.ALIVE,
    SessionState.STARTING,
    SessionState.BUS_DOWN,
    SessionState.STANDBY,
    SessionState.UNKNOWN,
    SessionState.WEDGED,
)
"""Whom to judge by, and to join: who acts, or will, comes before who stands by."""


def foremost(answers: Sequence[Liveness]) -> int:
    """Return which of several sessions of one topic counts: the holder of the lease, as far as can be told."""
    # A wedged one keeps the lease: whoever stands by behind it can do nothing.
    wedged = [number for number, answer in enumerate(answers) if answer.state is SessionState.WEDGED]
    acting = [number for number, answer in enumerate(answers) if answer.state in _LIKED[:3]]
    if wedged and not acting:
        return wedged[0]
    return min(range(len(answers)), key=lambda number: _LIKED.index(answers[number].state))


def decide(choice: str, state: SessionState, *, interactive: bool, pinned: bool) -> Decision:
    """Decide about a live session of the same target.

    Args:
        choice: `join`, `replace`, `new`, or `` if the user named none of them.
        state: How the foremost session answered.
        interactive: Whether somebody sits there who can be asked.
        pinned: Whether the configuration prescribes the topic, so that there is no other.

    Raises:
        UsageError: A new topic is wanted, and there can be none.
    """
    if choice == Action.NEW:
        check_new(pinned=pinned)
        return Decision(Action.NEW)
    if choice == Action.REPLACE:
        return Decision(Action.REPLACE)
    wedged = state is SessionState.WEDGED
    if choice == Action.JOIN or not interactive:
        return Decision(Action.JOIN, warn=wedged or state is SessionState.BUS_DOWN)
    return Decision(Action.ASK, Action.REPLACE if wedged else Action.JOIN)


def check_new(*, pinned: bool) -> None:
    """Refuse `--new` where the configuration pins the topic.

    Raises:
        UsageError: It does.
    """
    if pinned:
        raise UsageError("--new wants a new topic, and config.toml pins one: use --join or --replace, or unpin it")


def describe(record: Record, answer: Liveness, age: float) -> str:
    """Return a line about a session for the user; `age` is seconds."""
    from nssh.base.durations import format_gap

    words = [f"pid {record.pid}", record.target, record.transport, record.role, f"up {format_gap(age)}", answer.text]
    return ", ".join(word for word in words if word)
