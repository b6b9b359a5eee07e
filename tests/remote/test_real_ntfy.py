from __future__ import annotations

import os

import pytest

from tests.lab import ntfy
from tests.lab.waiting import until
from tests.remote.support import Home, Laptop, Ran

pytestmark = pytest.mark.real


@pytest.fixture
def home(fresh: Home, ntfy_server: ntfy.NtfyServer) -> Home:
    fresh.connect(ntfy_server.url)
    return fresh


def test_everything_works_on_ntfy_too(home: Home, ntfy_server: ntfy.NtfyServer) -> None:
    image = b"\x89PNG" + os.urandom(8 << 20)
    text = os.urandom(3060)  # the envelope is longer than ntfy takes as a message
    with Laptop(ntfy_server.url, {"text/plain": text, "image/png": image}) as laptop:
        assert home.run("xdg-open", "https://example.com/") == Ran(0, b"", "")
        assert home.run("xdg-open", "https://example.com/" + "a" * 6000) == Ran(0, b"", "")
        assert home.run("xclip", "-sel", "c", stdin=text) == Ran(0, b"", "")
        assert home.run("xclip", "-sel", "c", "-t", "image/png", stdin=image) == Ran(0, b"", "")
        assert home.run("xclip", "-sel", "c", "-o") == Ran(0, text, "")
        assert home.run("xclip", "-sel", "c", "-o", "-t", "image/png") == Ran(0, image, "")
        got = laptop.wait(4)
    assert [message.url for message, _ in got[:2]] == ["https://example.com/", "https://example.com/" + "a" * 6000]
    assert [payload for _, payload in got[2:]] == [text, image]


def test_a_hundred_reads_in_a_row_lose_none(home: Home, ntfy_server: ntfy.NtfyServer) -> None:
    for _ in range(3):
        panics = ntfy_server.panics
        try:
            with Laptop(ntfy_server.url, {"text/plain": b"again"}):
                for _ in range(100):
                    assert home.run("xclip", "-sel", "c", "-o") == Ran(0, b"again", "")
        except AssertionError:
            until(ntfy_server.healthy)
            if ntfy_server.panics == panics:
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


def test_a_server_that_restarts_meanwhile_is_waited_for(home: Home, ntfy_server: ntfy.NtfyServer) -> None:
    ntfy_server.kill()
    process = home.start("xdg-open", "https://x.y/")
    ntfy_server.start()
    assert (process.wait(60), process.communicate()) == (0, (b"", b""))
