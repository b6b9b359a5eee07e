"""Reads and checks the facts that `nssh.remote.doctor` reports. The remote may be hostile."""

from __future__ import annotations

from typing import Any, NamedTuple

from nssh.base.errors import RemoteError


class Shell(NamedTuple):
    """A shell of the remote, started in one way, and what it finds on its PATH."""

    name: str
    way: str
    """`login`, `interactive` or `command`."""
    own: bool
    """Whether it is the user's login shell. Others are checked because programs start them, such as bash."""
    answered: bool
    shadows: dict[str, str]
    """For each shim that is not first on the PATH, the program that is."""
    missing: list[str]
    """Shims that are not found at all."""
    behind: dict[str, str]
    """For each shim, the real program behind it on the PATH, which the shim may run."""
    advice: str


class SessionFile(NamedTuple):
    """The remote's session file."""

    path: str
    there: bool
    problem: str
    mode: int
    mine: bool
    server: str
    topic: str
    """A salted hash of the topic."""
    overridden: str
    """What overrides the session file on the remote, such as an environment variable; empty if nothing does."""
    unusable: str
    """Why the shims can't use the remote's own configuration; empty if they can."""


class RemoteFacts(NamedTuple):
    """Everything that the helper found out about the remote."""

    python: str
    python_version: str
    on_path: str
    """The python3 on the PATH of a command; empty if there is none."""
    desktop: str
    installed: str
    """The installed nssh as `version digest python`; empty if there is none."""
    installed_problem: str
    """Why the installed nssh does not run; empty if it does."""
    installed_seconds: float
    foreign: list[str]
    """Files in the place of shims that are not nssh's."""
    lacking: list[str]
    """Names of missing shims."""
    shells: list[Shell]
    state: str
    """The state directory."""
    state_mode: int
    state_problem: str
    session: SessionFile
    relay: str
    """`none`, `healthy`, or what is wrong with the user's relay."""


def read(answer: dict[str, Any]) -> RemoteFacts:
    """Read the helper's answer to the order `facts`. Long texts and lists are cut.

    Raises:
        RemoteError: The answer lacks a part.
    """
    nssh, state, session = (_table(answer, key) for key in ("nssh", "state", "session"))
    paths = answer.get("paths")
    if not isinstance(paths, list) or len(paths) > 99:
        raise RemoteError("the remote's answer makes no sense")
    return RemoteFacts(
        python=_text(answer, "python"),
        python_version=_text(answer, "python_version"),
        on_path=_text(answer, "on_path"),
        desktop=_text(answer, "desktop"),
        installed=_text(nssh, "line"),
        installed_problem=_text(nssh, "problem"),
        installed_seconds=number(nssh, "ms") / 1000,
        foreign=_list(nssh, "foreign"),
        lacking=_list(nssh, "lacking"),
        shells=[_shell(one) for one in paths if isinstance(one, dict)],
        state=_text(state, "path"),
        state_mode=int(number(state, "mode")),
        state_problem=_text(state, "problem"),
        session=SessionFile(
            path=_text(session, "path"),
            there=session.get("there") is True,
            problem=_text(session, "problem"),
            mode=int(number(session, "mode")),
            mine=session.get("mine") is True,
            server=_text(session, "server"),
            topic=_text(session, "topic"),
            overridden=_text(session, "overridden"),
            unusable=_text(session, "unusable"),
        ),
        relay=_text(answer, "relay"),
    )


def _shell(one: dict[str, Any]) -> Shell:
    return Shell(
        name=_text(one, "shell"),
        way=_text(one, "way"),
        own=one.get("own") is True,
        answered=one.get("answered") is True,
        shadows=_names(one, "shadows"),
        missing=_list(one, "missing"),
        behind=_names(one, "behind"),
        advice=_text(one, "advice"),
    )


def _table(answer: dict[str, Any], key: str) -> dict[str, Any]:
    value = answer.get(key)
    if not isinstance(value, dict):
        raise RemoteError("the remote's answer makes no sense")
    return value


def _text(answer: dict[str, Any], key: str) -> str:
    value = answer.get(key, "")
    return value[:1000] if isinstance(value, str) else ""


def _list(answer: dict[str, Any], key: str) -> list[str]:
    value = answer.get(key)
    return [str(name)[:300] for name in value[:20]] if isinstance(value, list) else []


def _names(answer: dict[str, Any], key: str) -> dict[str, str]:
    value = answer.get(key)
    return {str(k): str(v)[:300] for k, v in list(value.items())[:20]} if isinstance(value, dict) else {}


def number(answer: dict[str, Any], key: str) -> float:
    """Return a number of an answer; 0 if it is missing, no number, negative or above a thousand million."""
    value = answer.get(key, 0)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if usable else 0.0
