from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.launch.session_info import SessionInfo, decode
from nssh.ssh.identity import Target

# Words of a command line may hold what is no text; Python keeps it as lone surrogates.
TEXT = st.one_of(st.text(max_size=20), st.sampled_from(["a\nb", "\udcff\udc80", '"\\', "\0", "\u2028", ""]))
TARGETS = st.builds(
    Target,
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    st.lists(TEXT, max_size=3).map(tuple),
    st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=4),
)
SESSIONS = st.builds(
    SessionInfo,
    st.integers(1, 2**22),
    TEXT,
    TEXT,
    TARGETS,
    *[TEXT] * 8,
    st.booleans(),
    st.booleans(),
    st.sampled_from(["ssh", "mosh", ""]),
    prepared=st.booleans(),
    version=TEXT,
    problem=TEXT,
    child=st.integers(0, 2**22),
    restarts=st.integers(0, 99),
    bus_heard=st.floats(0),
)
# A NamedTuple's fields have no types at run time to build from: this is what `builds` must have made.
BOOLEANS = ("own_control", "login_first", "prepared")


@given(SESSIONS)
def test_the_bridge_gets_what_the_launcher_said(session: SessionInfo) -> None:
    line = session.encode()
    assert decode(line) == session
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert all(type(getattr(session, name)) is bool for name in BOOLEANS)
    assert type(decode(line).target.options) is tuple
    assert type(decode(line).target) is Target


def session(**fields: Any) -> SessionInfo:
    target = Target("h", ("ssh",), (), {"port": ["22"]})
    basis = SessionInfo(
        1,
        "b",
        "s",
        target,
        "k",
        "relay",
        "t",
        "l",
        "e",
        "g",
        "f",
        "c",
        own_control=True,
        login_first=False,
        transport="",
    )
    return basis._replace(**fields)


def test_news_replace_what_was_known() -> None:
    told = decode(session().encode())._replace(child=7, transport="mosh")
    assert decode(told.encode()) == session(child=7, transport="mosh")


@pytest.mark.parametrize("change", [{"unknown": 1}, {"target": None}, {"target": {}}, {"target": []}])
def test_what_another_version_wrote_is_refused(change: dict[str, object]) -> None:
    line = json.dumps(json.loads(session().encode()) | change).encode()
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(line)


@pytest.mark.parametrize("line", [b"", b"\n", b"null", b"[]", b"{}", b"{", session().encode()[:-10]])
def test_what_is_no_session_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(line)
