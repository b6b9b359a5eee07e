"""Whom a sweep spares and chooses: pure decisions, on tables and on whatever Hypothesis makes up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.mosh import server_choice
from nssh.mosh.end_servers import EndMethod
from nssh.mosh.mosh_servers import ClientState, Listing, MoshServer
from nssh.mosh.own_mosh import MoshClient, OwnMosh
from nssh.sweep.sweep_options import SweepOptions

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "me@devbox.example.com:22"
DAY = 86400.0
SERVER = MoshServer(100, "5000", 3 * DAY, ports=(60001,), birth="abcdef01/5000")
HOST = Listing((SERVER,), ("192.0.2.5", "fd00::5"), "198.51.100.9")

servers = st.builds(
    MoshServer,
    pid=st.integers(1, 9),
    start=st.sampled_from(["1", "2"]),
    age=st.floats(0, 20 * DAY),
    state=st.sampled_from(ClientState),
    since=st.none() | st.floats(0, 20 * DAY),
    client=st.sampled_from(["", "198.51.100.9", "203.0.113.1"]),
    idle=st.none() | st.floats(0, 20 * DAY),
    ports=st.sampled_from([(), (60001,), (60002,)]),
    signal_timeout=st.sampled_from([0, 60]),
    birth=st.sampled_from(["abcdef01/1", "abcdef01/2"]),
)
wishes = st.builds(
    SweepOptions,
    hosts=st.just(("devbox",)),
    every=st.booleans(),
    older=st.none() | st.floats(0, 20 * DAY),
    detached=st.booleans(),
    include_mine=st.booleans(),
    min_age=st.floats(0, DAY),
)
clients = st.builds(
    MoshClient,
    address=st.sampled_from(["192.0.2.5", "203.0.113.1"]),
    port=st.integers(60000, 60003),
    key=st.sampled_from(["", KEY, "me@other:22"]),
)
mines = st.builds(
    OwnMosh,
    clients=st.lists(clients, max_size=3).map(tuple),
    around=st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["abcdef01/1", ""])), max_size=2).map(tuple),
)


def spared(
    server: MoshServer = SERVER,
    mine: OwnMosh = OwnMosh(),  # noqa: B008 - frozen
    host: Listing = HOST,
    **wish: Any,
) -> str:
    return server_choice.spared(server, host, KEY, mine, SweepOptions(hosts=("devbox",), **wish))


def client(address: str = "192.0.2.5", port: int = 60001, key: str = "") -> OwnMosh:
    return OwnMosh((MoshClient(address, port, key),))


@pytest.mark.parametrize(
    ("mine", "because"),
    [
        (OwnMosh(), ""),
        (client(), "a session of yours here"),
        (client("fd00::5"), "a session of yours here"),
        (client(port=60002), ""),
        # The usual port, of a session with another host.
        (client("203.0.113.1"), ""),
        (client("203.0.113.1", key=KEY), "a session of yours here"),
        (client("203.0.113.1", key="me@other:22"), ""),
        (OwnMosh(around=((100, "abcdef01/5000"),)), "you are in it"),
        # That PID of another machine, and a process that had it before.
        (OwnMosh(around=((100, "12345678/5000"),)), ""),
        (OwnMosh(around=((100, "abcdef01/4000"),)), ""),
        (OwnMosh(around=((101, "abcdef01/5000"),)), ""),
    ],
)
def test_what_is_ours_is_spared_unless_that_is_included(mine: OwnMosh, because: str) -> None:
    assert spared(mine=mine) == because
    assert spared(mine=mine, include_mine=True) == ""


def test_behind_address_translation_the_host_tells_us_by_our_own_address() -> None:
    """Our mosh-client knows a public address that the host itself has never heard of."""
    elsewhere = client("203.0.113.1")
    attached = SERVER._replace(state=ClientState.ATTACHED, client=HOST.seen_from)
    assert spared(attached, elsewhere) == "a session of yours here"
    assert spared(attached._replace(client="203.0.113.77"), elsewhere) == ""


def test_in_doubt_it_may_be_ours() -> None:
    assert spared(SERVER._replace(ports=()), client(port=60009)) != ""
    assert spared(SERVER, client("203.0.113.1"), HOST._replace(addresses=())) != ""


def test_seconds_of_two_sources_are_compared_with_patience() -> None:
    """Without /proc a birth is what psutil says here, and what ps said there."""
    server = SERVER._replace(birth="1795481136.00")
    assert spared(server, OwnMosh(around=((100, "1795481136.61"),))) == "you are in it"
    assert spared(server, OwnMosh(around=((100, "1795481139.61"),))) == ""
    assert spared(server, OwnMosh(around=((100, ""),))) == ""


@pytest.mark.parametrize(("age", "wish", "because"), [
    (59.9, {}, "too young"), (60.0, {}, ""), (0.0, {"min_age": 0.0}, ""), (3599.0, {"min_age": 3600.0}, "too young"),
    (1.0, {"include_mine": True}, "too young"),
])  # fmt: skip
def test_the_young_are_spared(age: float, wish: dict[str, Any], because: str) -> None:
    assert spared(SERVER._replace(age=age), **wish) == because


@pytest.mark.parametrize(("state", "wish", "is_chosen"), [
    (ClientState.ATTACHED, {"every": True}, True),
    (ClientState.UNKNOWN, {"every": True}, True),
    (ClientState.DETACHED, {"detached": True}, True),
    (ClientState.ATTACHED, {"detached": True}, False),
    (ClientState.UNKNOWN, {"detached": True}, False),
    (ClientState.NEVER, {"detached": True}, False),
    (ClientState.ATTACHED, {"older": 3 * DAY}, True),
    (ClientState.ATTACHED, {"older": 3 * DAY + 1}, False),
    (ClientState.DETACHED, {"detached": True, "older": 4 * DAY}, False),
    (ClientState.ATTACHED, {"detached": True, "older": DAY}, False),
    (ClientState.DETACHED, {}, False),
])  # fmt: skip
def test_flags_choose(state: ClientState, wish: dict[str, Any], *, is_chosen: bool) -> None:
    server = SERVER._replace(state=state)
    assert server_choice.chosen(server, SweepOptions(hosts=("devbox",), **wish)) == is_chosen


def test_who_is_only_chosen_for_being_unused_is_asked_in_a_way_that_spares_the_used() -> None:
    asked = SERVER._replace(signal_timeout=60)
    assert server_choice.how(SERVER, unused=False) is server_choice.how(asked, unused=False) is EndMethod.TERM
    assert server_choice.how(asked, unused=True) is EndMethod.UNUSED
    assert server_choice.how(SERVER, unused=True) is EndMethod.DETACHED
    # What was picked from a list is only looked at again if it was detached then, and never left to itself.
    detached = asked._replace(state=ClientState.DETACHED)
    assert server_choice.how(detached, unused=False, picked=True) is EndMethod.DETACHED
    assert (
        server_choice.how(detached, unused=False)
        is server_choice.how(asked, unused=False, picked=True)
        is EndMethod.TERM
    )


@pytest.mark.parametrize(("server", "is_forgotten"), [
    (SERVER._replace(state=ClientState.DETACHED, idle=DAY), True),
    (SERVER._replace(state=ClientState.DETACHED, idle=None, since=2 * DAY), True),
    # It may have been typed in a minute ago.
    (SERVER._replace(state=ClientState.DETACHED, idle=None, since=60.0), False),
    (SERVER._replace(state=ClientState.DETACHED, idle=None), False),
    (SERVER._replace(idle=None, signal_timeout=60), False),
    (SERVER._replace(state=ClientState.DETACHED, idle=DAY / 2), False),
    (SERVER._replace(state=ClientState.DETACHED, age=DAY / 2), False),
    (SERVER._replace(state=ClientState.ATTACHED, idle=2 * DAY, signal_timeout=60), False),
    # Nobody knows whether somebody looks at it, but the server itself.
    (SERVER._replace(idle=2 * DAY), False),
    (SERVER._replace(idle=2 * DAY, signal_timeout=60), True),
])  # fmt: skip
def test_what_is_forgotten_on_connect(server: MoshServer, *, is_forgotten: bool) -> None:
    assert server_choice.forgotten(server, DAY) == is_forgotten


@given(servers, mines, wishes)
def test_nobody_spared_is_ours_or_young(server: MoshServer, mine: OwnMosh, wish: SweepOptions) -> None:
    because = server_choice.spared(server, HOST, KEY, mine, wish)
    if server.age < wish.min_age:
        assert because
    if wish.include_mine:
        assert because in {"", "too young"}
    if not wish.include_mine and (server.pid, server.birth) in mine.around:
        assert because == "you are in it"


def never_more(loose: Callable[[MoshServer], bool], strict: Callable[[MoshServer], bool], server: MoshServer) -> None:
    assert loose(server) or not strict(server)


@given(servers, st.floats(0, 20 * DAY), st.floats(0, 20 * DAY))
def test_a_longer_age_never_chooses_more(server: MoshServer, one: float, other: float) -> None:
    short, long = (SweepOptions(hosts=("d",), older=age) for age in sorted((one, other)))
    never_more(lambda s: server_choice.chosen(s, short), lambda s: server_choice.chosen(s, long), server)


@given(servers, wishes)
def test_without_utmp_nobody_is_chosen_as_detached(server: MoshServer, wish: SweepOptions) -> None:
    unknown = server._replace(state=ClientState.UNKNOWN)
    if wish.detached and not wish.every:
        assert not server_choice.chosen(unknown, wish)
