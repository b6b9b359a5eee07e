"""Decides whether a start joins or replaces a live session of the same target, takes a new topic, or asks. No I/O."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import UsageError
from nssh.meeting.liveness import SessionState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.meeting.liveness import Liveness
    from nssh.state.session_records import Record


class Action(enum.StrEnum):
    """What a start does about live sessions of the same target."""

    JOIN = "join"  # use the same topic; the session that holds its lease acts, the others stand by
    REPLACE = "replace"  # end the other sessions, and go on with a fresh topic
    NEW = "new"  # use a new topic, and leave the other sessions alone
    ASK = "ask"  # let the user decide


class Decision(NamedTuple):
    """What to do, and what to tell the user."""

    action: Action
    default: Action = Action.JOIN
    """The answer that is marked at first, if the user is asked."""
    warn: bool = False
    """Whether to warn the user that the joined session may not be able to act."""


_LIKED = (
    SessionState.ALIVE,
    SessionState.STARTING,
    SessionState.BUS_DOWN,
    SessionState.STANDBY,
    SessionState.UNKNOWN,
    SessionState.WEDGED,
)
"""States of sessions, best first: a session that acts, or will soon, comes before one that stands by."""


def foremost(answers: Sequence[Liveness]) -> int:
    """Return the index of the session to judge a topic by: the holder of the lease, as far as the answers tell."""
    # A wedged session keeps the lease, so those that stand by for it can't act.
    wedged = [number for number, answer in enumerate(answers) if answer.state is SessionState.WEDGED]
    acting = [number for number, answer in enumerate(answers) if answer.state in _LIKED[:3]]
    if wedged and not acting:
        return wedged[0]
    return min(range(len(answers)), key=lambda number: _LIKED.index(answers[number].state))


def decide(choice: str, state: SessionState, *, interactive: bool, pinned: bool) -> Decision:
    """Decide what to do about a live session of the same target.

    Args:
        choice: The user's `join`, `replace` or `new`; empty if no option was given.
        state: The state of the foremost session.
        interactive: Whether there is a user who can be asked.
        pinned: Whether the configuration sets the topic, so that there can be no new one.

    Raises:
        UsageError: The choice is `new`, and the topic is pinned.
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
    """Refuse `--new` if the configuration pins the topic.

    Raises:
        UsageError: The topic is pinned.
    """
    if pinned:
        raise UsageError("--new wants a new topic, and config.toml pins one: use --join or --replace, or unpin it")


def describe(record: Record, answer: Liveness, age: float) -> str:
    """Return a line that describes a session to the user; `age` is its age in seconds."""
    from nssh.base.durations import format_gap

    program = f"the Go program's on {record.address}" if record.foreign else ""
    kind = (program, record.transport, record.role)
    words = [f"pid {record.pid}", record.target, *kind, f"up {format_gap(age)}", answer.text]
    return ", ".join(word for word in words if word)
