"""Reads and checks the facts that `nssh.remote.doctor` reports. The remote may be hostile.

The fields of the classes have the names of the report. A field that is missing or of a wrong type gets its default, and
long texts and lists are cut.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from nssh.base.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Shell(NamedTuple):
    """A shell of the remote, started in one way, and what it finds on its PATH."""

    shell: str = ""
    """The shell's name."""
    way: str = ""
    """`login`, `interactive` or `command`."""
    own: bool = False
    """Whether it is the user's login shell. Others are checked because programs start them, such as bash."""
    answered: bool = False
    shadows: Mapping[str, str] = _NONE
    """For each shim that is not first on the PATH, the program that is."""
    missing: tuple[str, ...] = ()
    """Shims that are not found at all."""
    behind: Mapping[str, str] = _NONE
    """For each shim, the real program behind it on the PATH, which the shim may run."""
    advice: str = ""


class Installation(NamedTuple):
    """The nssh that is installed on the remote."""

    line: str = ""
    """`version digest python`; empty if there is none."""
    problem: str = ""
    """Why it does not run; empty if it does."""
    ms: float = 0.0
    """How long a start takes, in milliseconds."""
    foreign: tuple[str, ...] = ()
    """Files in the place of shims that are not nssh's."""
    lacking: tuple[str, ...] = ()
    """Names of missing shims."""
    go_shims: tuple[str, ...] = ()
    """Names of the shims that are the Go program's."""
    go_version: str = ""
    """The version that the Go program tells."""


class StateDirectory(NamedTuple):
    """The remote's state directory."""

    path: str = ""
    problem: str = ""
    """Why it can't be written; empty if it can."""
    mode: int = 0


class SessionFile(NamedTuple):
    """The remote's session file."""

    path: str = ""
    there: bool = False
    problem: str = ""
    mode: int = 0
    mine: bool = False
    topic: str = ""
    """A salted hash of the topic."""
    overridden: str = ""
    """What overrides the session file on the remote, such as an environment variable; empty if nothing does."""
    unusable: str = ""
    """Why the shims can't use the remote's own configuration; empty if they can."""


class RemoteFacts(NamedTuple):
    """Everything that the helper found out about the remote."""

    python: str = ""
    python_version: str = ""
    on_path: str = ""
    """The python3 on the PATH of a command; empty if there is none."""
    desktop: str = ""
    """Why the remote looks like a desktop; empty if it does not."""
    relay: str = ""
    """`none`, `healthy`, or what is wrong with the user's relay."""
    nssh: Installation = Installation()
    state: StateDirectory = StateDirectory()
    session: SessionFile = SessionFile()
    shells: tuple[Shell, ...] = ()


_Part = TypeVar("_Part", Shell, Installation, StateDirectory, SessionFile, RemoteFacts)


def read(answer: dict[str, Any]) -> RemoteFacts:
    """Read the helper's answer to the order `facts`.

    Raises:
        RemoteError: The answer lacks a part.
    """
    paths = answer.get("paths")
    if not isinstance(paths, list) or len(paths) > 99:
        raise RemoteError("the remote's answer makes no sense")
    return _read(RemoteFacts, answer)._replace(
        nssh=_read(Installation, answer.get("nssh")),
        state=_read(StateDirectory, answer.get("state")),
        session=_read(SessionFile, answer.get("session")),
        shells=tuple(_read(Shell, one) for one in paths),
    )


def _read(part: type[_Part], answer: object) -> _Part:
    if not isinstance(answer, dict):
        raise RemoteError("the remote's answer makes no sense")
    fields = {name: _value(answer, name, default) for name, default in part._field_defaults.items()}
    return part(**fields)


def _value(answer: dict[str, Any], name: str, default: object) -> Any:
    value = answer.get(name)
    if isinstance(default, bool):
        return value is True
    if isinstance(default, int | float):
        return type(default)(number(answer, name))
    if isinstance(default, str) and isinstance(value, str):
        return value[:1000]
    if type(default) is tuple and isinstance(value, list):
        return tuple(str(one)[:300] for one in value[:20])
    if default is _NONE and isinstance(value, dict):
        return {str(key): str(one)[:300] for key, one in list(value.items())[:20]}
    return default


def number(answer: dict[str, Any], key: str) -> float:
    """Return a number of an answer; 0 if it is missing, no number, negative or above a thousand million."""
    value = answer.get(key, 0)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if usable else 0.0
