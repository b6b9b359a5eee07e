"""How long a port stands for the remote's: until the login's success and some quiet seconds, or its other ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from nssh.local.callback_finder import Callback, find_callbacks
from nssh.local.callback_flow import LONGEST, QUIET, FlowEnded
from tests.lab.tools import DEADLINE, wait_until
from tests.local.callback.stage import ANSWER, REQUEST, Remote, answer_with, ask, connect, is_free, read_all, read_head

if TYPE_CHECKING:
    import socket


def test_a_flow_ends_thirty_quiet_seconds_after_its_success(remote: Remote, port: int) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    assert ask(port) == ANSWER
    wait_until(lambda: remote.succeeded == [port], "it is told")
    remote.advance(QUIET - 1)
    assert ask(port, REQUEST.replace(b"/callback", b"/favicon.ico")).startswith(b"HTTP/1.1 404")
    remote.advance(QUIET - 1)
    assert not is_free(port)
    remote.advance(2)
    assert remote.wait_ended("success") == FlowEnded(port, "success", 2)
    wait_until(lambda: is_free(port), "the port is free")
    assert is_free(port, "::1")


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST.replace(b"/callback", b"/favicon.ico"),
        REQUEST.replace(b"/callback", b"/other"),
        REQUEST.replace(b"GET", b"OPTIONS"),
    ],
)
def test_what_is_no_callback_is_no_success(remote: Remote, port: int, request_: bytes) -> None:
    remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    assert ask(port, request_)
    assert remote.succeeded == []
    remote.advance(QUIET + 1)
    assert ask(port) == ANSWER


def test_a_login_that_begins_on_the_remote_may_take_its_time_with_the_provider(remote: Remote, port: int) -> None:
    """As kubelogin's and tsh's: the browser is sent to the remote's own port, and from there to the provider."""
    remote.run(port, answer_with(b"HTTP/1.1 302 Found\r\nLocation: https://provider.example/\r\n\r\n"))
    (own,) = find_callbacks(f"http://localhost:{port}/")
    remote.proxy.expect(own)
    assert ask(port, REQUEST.replace(b"/callback?code=secret", b"/")).startswith(b"HTTP/1.1 302")
    remote.advance(QUIET + 1)
    remote.programs.pop(port).end()
    remote.run(port)
    assert ask(port) == ANSWER
    assert (remote.succeeded, remote.ended) == ([], [])


def test_a_flow_lasts_five_minutes_at_most_and_takes_its_connections_along(remote: Remote, port: int) -> None:
    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        read_all(peer)

    remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as talking, connect(port) as silent:
        talking.sendall(REQUEST.replace(b"/callback", b"/events"))
        assert talking.recv(100).startswith(b"HTTP/1.1 200")
        remote.advance(LONGEST - 1)
        assert remote.ended == []
        remote.advance(1)
        remote.wait_ended("timeout")
        assert talking.recv(1) == b""
        assert silent.recv(1) == b""
    assert is_free(port)


def test_a_flow_ends_when_the_remote_listens_no_more(remote: Remote, port: int) -> None:
    program = remote.run(port)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    assert ask(port) == ANSWER
    program.end()
    assert ask(port, REQUEST.replace(b"/callback", b"/favicon.ico")).startswith(b"HTTP/1.1 502")
    assert remote.wait_ended("closed").connections == 2
    wait_until(lambda: is_free(port), "the port is free")


def test_an_answer_on_its_way_arrives_though_the_remote_listens_no_more(remote: Remote, port: int) -> None:
    go_on = threading.Event()

    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(ANSWER[:20])
        go_on.wait(DEADLINE)
        peer.sendall(ANSWER[20:])

    program = remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST)
        assert client.recv(20) == ANSWER[:20]
        program.end()
        assert ask(port, REQUEST.replace(b"/callback", b"/favicon.ico")).startswith(b"HTTP/1.1 502")
        remote.wait_ended("closed")
        go_on.set()
        assert read_all(client) == ANSWER[20:]


def test_not_even_a_closed_flow_lasts_for_longer(remote: Remote, port: int) -> None:
    def serve(peer: socket.socket) -> None:
        read_head(peer)
        peer.sendall(ANSWER[:20])
        read_all(peer)

    program = remote.run(port, serve)
    remote.proxy.expect(Callback("localhost", port, "/callback"))
    with connect(port) as client:
        client.sendall(REQUEST)
        assert client.recv(20) == ANSWER[:20]
        program.end()
        ask(port)
        remote.wait_ended("closed")
        remote.advance(LONGEST)
        assert client.recv(1) == b""
