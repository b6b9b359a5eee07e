from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab import ntfy
from tests.lab.waiting import until
from tests.remote.support import Home, Laptop, Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[ntfy.NtfyServer]:
    with ntfy.running() as server:
        yield server


@pytest.fixture
def home(server: ntfy.NtfyServer) -> Iterator[Home]:
    with Home() as home:
        home.infect()
        home.connect(server.url)
        yield home


def test_everything_works_on_ntfy_too(home: Home, server: ntfy.NtfyServer) -> None:
    image = b"\x89PNG" + os.urandom(8 << 20)
    text = os.urandom(3060)  # the envelope is longer than ntfy takes as a message
    with Laptop(server.url, {"text/plain": text, "image/png": image}) as laptop:
        assert home.run("xdg-open", "https://example.com/") == Ran(0, b"", "")
        assert home.run("xdg-open", "https://example.com/" + "a" * 6000) == Ran(0, b"", "")
        assert home.run("xclip", "-sel", "c", stdin=text) == Ran(0, b"", "")
        assert home.run("xclip", "-sel", "c", "-t", "image/png", stdin=image) == Ran(0, b"", "")
        assert home.run("xclip", "-sel", "c", "-o") == Ran(0, text, "")
        assert home.run("xclip", "-sel", "c", "-o", "-t", "image/png") == Ran(0, image, "")
        got = laptop.wait(4)
    assert [message.url for message, _ in got[:2]] == ["https://example.com/", "https://example.com/" + "a" * 6000]
    assert [payload for _, payload in got[2:]] == [text, image]


def test_a_hundred_reads_in_a_row_lose_none(home: Home, server: ntfy.NtfyServer) -> None:
    for _ in range(3):
        panics = server.panics
        try:
            with Laptop(server.url, {"text/plain": b"again"}):
                for _ in range(100):
                    assert home.run("xclip", "-sel", "c", "-o") == Ran(0, b"again", "")
        except AssertionError:
            until(server.healthy)
            if server.panics == panics:
                raise
        else:
            return
    pytest.fail("ntfy died three times over a hundred reads")


def test_a_token_that_is_missing_or_wrong_is_one_line() -> None:
    with ntfy.running(auth=True) as server, Home() as home:
        home.infect()
        for token, status in (("", "403"), ("tk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "401")):
            home.connect(server.url, token=token)
            for argv in (["xdg-open", "https://x.y/"], ["xclip", "-sel", "c", "-o"]):
                ran = home.run(*argv)
                assert (ran.status, ran.err.count("\n")) == (4 if argv[0] == "xdg-open" else 1, 1)
                assert status in ran.err
                assert not token or token not in ran.err
        home.connect(server.url, token=server.token)
        assert home.run("xdg-open", "https://x.y/") == Ran(0, b"", "")


def test_a_server_that_slows_us_down_is_one_line() -> None:
    with ntfy.running(tight=True) as server, Home() as home:
        home.infect()
        home.connect(server.url)
        for _ in range(20):
            ran = home.run("xdg-open", "https://x.y/")
            if ran.status:
                break
        assert (ran.status, ran.err.count("\n")) == (4, 1)
        assert "429" in ran.err


def test_a_server_that_restarts_meanwhile_is_waited_for(home: Home, server: ntfy.NtfyServer) -> None:
    server.kill()
    process = home.start("xdg-open", "https://x.y/")
    server.start()
    assert (process.wait(60), process.communicate()) == (0, (b"", b""))
