"""Which ports of the laptop stand for the remote's, how many at a time, and what is said of one that is taken."""

from __future__ import annotations

import functools
import socket

import pytest

from nssh.local.callback_finder import Callback, find_callbacks
from nssh.local.callback_flow import LONGEST, MOST_PATHS
from nssh.local.callback_proxy import MOST_FLOWS, Refusal
from tests.lab.ports import free_port
from tests.lab.tools import wait_until
from tests.local.callback.stage import ANSWER, REQUEST, Remote, answer_with, ask, needs_ipv6


@pytest.mark.parametrize("port", [1, 80, 443, 1023])
def test_a_low_port_is_refused(remote: Remote, port: int) -> None:
    refusal = remote.proxy.expect(Callback("localhost", port, "/"))
    assert refusal is not None
    assert refusal.port == port
    assert "below 1024" in refusal.reason
    assert remote.proxy.ports() == set()


def test_a_taken_port_is_told(remote: Remote, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        for host in ("127.0.0.1", "localhost"):
            refusal = remote.proxy.expect(Callback(host, port, "/"))
            assert refusal == Refusal(port, "is taken on this machine")
    # Asked for once more when it is free, it is listened on.
    assert remote.proxy.expect(Callback("localhost", port, "/callback")) is None
    remote.run(port)
    assert ask(port) == ANSWER


@needs_ipv6
def test_the_other_family_is_listened_on_where_one_is_taken(remote: Remote, port: int) -> None:
    remote.run(port)
    with socket.create_server(("127.0.0.1", port)):
        assert remote.proxy.expect(Callback("localhost", port, "/callback")) is not None
        assert ask(port, host="::1") == ANSWER


@needs_ipv6
def test_a_family_that_nobody_named_may_be_taken(remote: Remote, port: int) -> None:
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        assert remote.proxy.expect(Callback("127.0.0.1", port, "/callback")) is None


def test_a_port_that_somebody_has_on_all_addresses_is_not_taken_away(remote: Remote, port: int) -> None:
    with socket.create_server(("", port)):
        assert remote.proxy.expect(Callback("127.0.0.1", port, "/callback")) is not None


def test_a_machine_without_one_family_has_the_other(remote: Remote, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nssh.local.callback_flow._LOOPBACK", {"127.0.0.1": socket.AF_INET, "::2": socket.AF_INET6})
    remote.run(port)
    assert remote.proxy.expect(Callback("localhost", port, "/callback")) is None
    assert ask(port) == ANSWER


def test_only_so_many_flows(remote: Remote) -> None:
    refusals = [remote.proxy.expect(Callback("localhost", free_port(), "/")) for _ in range(MOST_FLOWS + 1)]
    assert refusals[:-1] == [None] * MOST_FLOWS
    assert refusals[-1] is not None
    assert "under way" in refusals[-1].reason


def test_a_login_that_succeeded_makes_room(remote: Remote) -> None:
    ports = [free_port() for _ in range(MOST_FLOWS)]
    for number in ports:
        remote.run(number)
        assert remote.proxy.expect(Callback("localhost", number, "/callback")) is None
    for number in (ports[3], ports[7]):
        assert ask(number) == ANSWER
    assert remote.proxy.expect(Callback("localhost", free_port(), "/")) is None
    assert remote.wait_ended("success").port == ports[3]
    assert remote.proxy.expect(Callback("localhost", free_port(), "/")) is None
    assert remote.proxy.expect(Callback("localhost", free_port(), "/")) is not None
    wait_until(lambda: [end.port for end in remote.ended] == [ports[3], ports[7]], "the two that succeeded end")


def test_a_page_of_the_remote_makes_room(remote: Remote) -> None:
    """Programs that show a page each, and tell of no callback, keep no login from its port."""
    ports = [free_port() for _ in range(MOST_FLOWS + 1)]
    for number in ports:
        assert remote.proxy.expect(find_callbacks(f"http://localhost:{number}/")[0]) is None
    assert remote.wait_ended("timeout").port == ports[0]
    assert remote.proxy.expect(Callback("localhost", free_port(), "/callback")) is None
    wait_until(lambda: [end.port for end in remote.ended] == ports[:2], "the next one ends")


def test_a_port_is_listened_on_again_right_after_its_flow(remote: Remote, port: int) -> None:
    def has_ended(times: int) -> bool:
        return len(remote.ended) == times

    for number in range(1, 4):
        program = remote.run(port)
        assert remote.proxy.expect(Callback("localhost", port, "/callback")) is None
        assert ask(port) == ANSWER
        program.end()
        ask(port)
        wait_until(functools.partial(has_ended, number), "the flow ends")


def test_a_second_callback_of_a_port_joins_the_first(remote: Remote, port: int) -> None:
    remote.run(port, answer_with(ANSWER))
    remote.proxy.expect(Callback("127.0.0.1", port, "/callback"))
    assert ask(port) == ANSWER
    remote.advance(LONGEST - 1)
    wait_until(lambda: remote.ended, "the first is over")
    remote.ended.clear()
    assert remote.proxy.expect(Callback("127.0.0.1", port, "/callback")) is None
    remote.advance(LONGEST - 1)
    assert remote.proxy.expect(Callback("::1", port, "/other")) is None
    remote.advance(LONGEST - 1)
    assert ask(port, REQUEST.replace(b"/callback", b"/other")) == ANSWER
    assert remote.dialled[-1] == (("127.0.0.1", "::1"), port)
    assert remote.ended == []
    remote.advance(2)
    remote.wait_ended("success")


def test_a_port_that_is_asked_for_without_end_does_not_grow(remote: Remote, port: int) -> None:
    remote.run(port)
    for number in range(MOST_PATHS + 9):
        remote.proxy.expect(Callback("localhost", port, f"/{number}"))
    assert len(remote.proxy._flows[port].paths) == MOST_PATHS
    assert ask(port).startswith(b"HTTP/1.1 200")


def test_several_flows_at_once(remote: Remote) -> None:
    ports = [free_port() for _ in range(4)]
    for number in ports:
        remote.run(number, answer_with(b"%d" % number))
        remote.proxy.expect(Callback("localhost", number, "/callback"))
    assert [ask(number) for number in ports] == [b"%d" % number for number in ports]
