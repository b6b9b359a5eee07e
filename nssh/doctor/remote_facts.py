"""What `nssh.remote.doctor` says, checked: whoever answers may be hostile."""

from __future__ import annotations

from typing import Any, NamedTuple

from nssh.base.errors import RemoteError


class Shell(NamedTuple):
    """A shell of the remote, started in one of the ways it is, and what it finds on its PATH."""

    name: str
    way: str
    """`login`, `interactive` or `command`."""
    own: bool
    """Whether it is the login shell; otherwise programs may start it, as they do bash."""
    answered: bool
    shadows: dict[str, str]
    """By shim, the program that is found before it."""
    missing: list[str]
    """Shims that are not found at all."""
    behind: dict[str, str]
    """By shim, the real tool that it hands over to."""
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
    """A salted hash."""
    overridden: str
    """What beats it there."""
    unusable: str
    """Why the shims can't use what is configured beside it."""


class RemoteFacts(NamedTuple):
    """All of it."""

    python: str
    python_version: str
    on_path: str
    """The python3 that a command finds, or ``."""
    desktop: str
    installed: str
    """`version digest python`, or `` if nssh is not there."""
    installed_problem: str
    """Why it does not run."""
    installed_seconds: float
    foreign: list[str]
    """Files of somebody else's where shims belong."""
    lacking: list[str]
    """Names of shims that are not there."""
    shells: list[Shell]
    state: str
    """The state directory."""
    state_mode: int
    state_problem: str
    session: SessionFile
    relay: str
    """`none`, `healthy`, or what is wrong with it."""


def read(answer: dict[str, Any]) -> RemoteFacts:
    """Read the answer to `facts`.

    Raises:
        RemoteError: It makes no sense.
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
    """Return a number of reasonable size, or 0."""
    value = answer.get(key, 0)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if usable else 0.0
