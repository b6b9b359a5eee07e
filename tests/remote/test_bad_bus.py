from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.ports import free_port
from tests.remote.scripted import Request, ScriptedServer, answer, message, response
from tests.remote.support import TOPIC, Home, Interpreter, Ran, interpreters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with Home() as home:
        home.infect()
        yield home


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, ["status 400"]),
        (401, ["401", "token"]),
        (403, ["403", "topic"]),
        (404, ["status 404"]),
        (413, ["413", "bytes"]),
        (507, ["507", "no space left"]),
        (301, ["status 301"]),
    ],
)
def test_a_refusal_is_one_line_and_not_tried_again(status: int, words: list[str], home: Home) -> None:
    with ScriptedServer(lambda _: answer(status)) as server:
        home.connect(server.url)
        for argv in (["xdg-open", "https://x.y/SECRET"], ["xclip", "-sel", "c", "-o"]):
            before = len(server.published)
            ran = home.run(*argv)
            assert ran.status == (4 if argv[0] == "xdg-open" else 1)
            assert ran.err.count("\n") == 1
            assert all(word in ran.err for word in words), ran.err
            assert "SECRET" not in ran.err
            assert TOPIC not in ran.err
            assert len(server.published) == before + 1
    assert home.log()[-1]["event"] == "publish-failed"


@pytest.mark.parametrize("failures", [[500], [503, 429], [None]])
def test_a_passing_failure_is_tried_again_as_the_same_message(failures: list[int | None], home: Home) -> None:
    left = list(failures)

    def publish(_: Request) -> bytes | None:
        status = left.pop(0) if left else 200
        return None if status is None else answer(status)

    with ScriptedServer(publish) as server:
        home.connect(server.url)
        assert home.run("xdg-open", "https://x.y/") == Ran(0, b"", "")
        assert len(server.published) == len(failures) + 1
        assert len({json.loads(request.body)["id"] for request in server.published}) == 1
        assert home.run("xclip", "-sel", "c", "-t", "image/png", stdin=b"x") == Ran(0, b"", "")


def test_retry_after_is_honoured(home: Home) -> None:
    times: list[float] = []

    def publish(_: Request) -> bytes:
        times.append(time.monotonic())
        return answer(429, b"{}", "Retry-After: 1") if len(times) == 1 else answer(200)

    with ScriptedServer(publish) as server:
        home.connect(server.url)
        assert home.run("xdg-open", "https://x.y/").status == 0
    assert times[1] - times[0] >= 1.0


def test_a_retry_after_beyond_our_patience_is_told_at_once(home: Home) -> None:
    with ScriptedServer(lambda _: answer(429, b"{}", "Retry-After: 600")) as server:
        home.connect(server.url)
        ran = home.run("xdg-open", "https://x.y/")
        assert (ran.status, len(server.published)) == (4, 1)
        assert "try again in 600 s" in ran.err


def test_a_server_that_is_down_is_one_line(home: Home) -> None:
    port = free_port()
    home.connect(f"http://127.0.0.1:{port}")
    ran = home.run("xclip", "-sel", "c", "-o", env={"NSSH_TIMEOUT": "0.5"})
    assert ran == Ran(1, b"", f"xclip: cannot reach http://127.0.0.1:{port}: Connection refused\n")


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"\0" * 70000]
)
def test_a_server_that_speaks_no_http_is_one_line(raw: bytes, home: Home) -> None:
    with ScriptedServer(lambda _: raw) as server:
        home.connect(server.url)
        ran = home.run("xdg-open", "https://x.y/")
    assert ran.status == 4
    assert ran.err.count("\n") == 1
    assert "failed (" not in ran.err


@pytest.mark.parametrize("raw", [b"HTTP/1.1 \xb200 OK\r\n\r\n", answer(429, b"{}", "Retry-After: \u00b2")])
def test_digits_of_other_scripts_are_none(raw: bytes, home: Home) -> None:
    with ScriptedServer(lambda _: raw) as server:
        home.connect(server.url)
        ran = home.run("xdg-open", "https://x.y/")
    assert (ran.status, ran.err.count("\n")) == (4, 1)
    assert "failed (" not in ran.err


def paste(home: Home, respond: Callable[[str], bytes], files: dict[str, bytes] | None = None, *argv: str) -> Ran:
    with ScriptedServer(respond=respond, files=files) as server:
        home.connect(server.url)
        return home.run(*(argv or ("xclip", "-sel", "c", "-o")), env={"NSSH_TIMEOUT": "2"})


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda interpreter: interpreter.version)
def test_what_is_no_answer_to_our_question_is_passed_over(interpreter: Interpreter) -> None:
    def respond(identity: str) -> bytes:
        return b"".join(
            [
                b"garbage\n", b"[]\n", b"{}\n", b'{"event":"message"}\n', b'{"event":"message","message":7}\n',
                b'{"event":"keepalive"}\n', b"\xff\xfe\n", b"{" * 100000 + b"\n",
                message("hello"), message('{"kind":"clip-read-response","id":"other","body":"eA=="}'),
                message(f'{{"kind":"ping","id":"{identity}"}}'), message(response(identity, body="no base64")),
                message(response(identity, body="Z29vZA==")),
            ]
        )  # fmt: skip

    with Home(interpreter.path) as home:
        home.infect()
        assert paste(home, respond) == Ran(0, b"good", "")


def test_a_file_is_fetched_from_our_own_server_whatever_host_is_named(home: Home) -> None:
    attachment = {"name": "clip.dat", "url": "http://192.0.2.1:9/file/abc.dat", "size": 4}
    files = {"abc.dat": b"file"}
    assert paste(home, lambda i: message(response(i), attachment), files) == Ran(0, b"file", "")


@pytest.mark.parametrize(
    "attachment",
    [
        {"url": "http://x/file/../../etc/passwd"},
        {"url": "http://x/file/"},
        {"url": "http://x/file/a?b"},
        {"url": "http://x/file/a b"},
        {"url": "http://x/other"},
        {"url": 7},
        {},
        {"url": "http://x/file/" + "a" * 200},
        {"url": "http://x/file/missing.dat"},
        {"url": "http://x/file/huge.dat", "size": 1 << 40},
    ],
)
def test_a_file_that_can_t_be_had_is_one_line(attachment: dict[str, object], home: Home) -> None:
    ran = paste(home, lambda i: message(response(i), attachment), {})
    assert (ran.status, ran.out) == (1, b"")
    assert ran.err.count("\n") == 1
    assert "can't be fetched" in ran.err or "MiB" in ran.err


def test_a_file_that_the_server_tells_of_too_early_is_waited_for(home: Home) -> None:
    files: dict[str, bytes] = {}

    def respond(identity: str) -> bytes:
        threading.Timer(0.1, files.update, [{"abc.dat": b"late"}]).start()
        return message(response(identity), {"url": "http://x/file/abc.dat"})

    assert paste(home, respond, files) == Ran(0, b"late", "")


def test_a_server_that_hangs_is_given_up_when_a_read_s_time_is_over(home: Home) -> None:
    with ScriptedServer(lambda _: b"") as server:
        home.connect(server.url)
        ran = home.run("xclip", "-sel", "c", "-o", env={"NSSH_TIMEOUT": "0.3"})
    assert (ran.status, ran.err.count("\n")) == (1, 1)


def test_a_file_larger_than_it_says_is_refused(home: Home) -> None:
    files = {"big.dat": b"x" * ((64 << 20) + 1)}
    ran = paste(home, lambda i: message(response(i), {"url": "http://x/file/big.dat", "size": 5}), files)
    assert (ran.status, ran.out) == (1, b"")
    assert ran.err.startswith("xclip: the clipboard's content can't be fetched: ")


def test_an_answer_that_came_before_the_subscription_is_polled_for(home: Home) -> None:
    """And again, since a server may deliver a message before it stores it; by time, since it may store it first."""
    polls: list[str] = []

    def polled(identity: str) -> bytes:
        polls.append(identity)
        noise = message("hello") + b"garbage\n" + message(response("other", body="eA=="))
        return noise + message(response(identity, body="Z29vZA==")) if len(polls) > 1 else noise

    body = b'{"id":"ourQuestion1","time":1796056278}'
    with ScriptedServer(lambda _: answer(200, body), lambda _: b'{"event":"keepalive"}\n', polled=polled) as server:
        home.connect(server.url)
        assert home.run("xclip", "-sel", "c", "-o") == Ran(0, b"good", "")
        asked = [request.path for request in server.requests if "poll=1" in request.path]
    assert asked == [f"/{TOPIC}/json?poll=1&since=1796056278"] * 2
    assert len(set(polls)) == 1


@pytest.mark.parametrize("told", ["", "7", "1&since=all", 0, 1, -5, True, 1.5, None, 1 << 40, 10**4000])
def test_a_server_s_time_that_is_none_goes_into_no_request(told: object, home: Home) -> None:
    body = json.dumps({"id": "ourQuestion1", "time": told}).encode()
    with ScriptedServer(
        lambda _: answer(200, body),
        lambda _: b'{"event":"keepalive"}\n',
        polled=lambda i: message(response(i, body="Z29vZA==")),
    ) as server:
        home.connect(server.url)
        assert home.run("xclip", "-sel", "c", "-o") == Ran(0, b"good", "")
        assert [request.path for request in server.requests if "poll=1" in request.path] == [
            f"/{TOPIC}/json?poll=1&since=all"
        ]


def test_an_envelope_that_the_server_made_a_file_of_is_read(home: Home) -> None:
    def respond(identity: str) -> bytes:
        files["x.txt"] = response(identity, body="bG9uZw==").encode()
        return message(
            "You received a file: attachment.json", {"name": "attachment.json", "url": "http://x/file/x.txt"}
        )

    files: dict[str, bytes] = {}
    assert paste(home, respond, files) == Ran(0, b"long", "")


def test_a_line_without_end_is_given_up(home: Home) -> None:
    ran = paste(home, lambda _: b"x" * (3 << 20))
    assert (ran.status, ran.out) == (1, b"")
    assert "more than" in ran.err


def test_a_stream_that_ends_is_asked_again_once(home: Home) -> None:
    ran = paste(home, lambda _: b'{"event":"keepal')
    assert (ran.status, ran.out) == (1, b"")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("mime", ["a/b\nc", "../x", "x" * 300, "a b", "a/\x1b"])
def test_types_that_are_none_are_refused(mime: str, home: Home) -> None:
    with ScriptedServer() as server:
        home.connect(server.url)
        refusals = {
            ("xclip", "-sel", "c", "-o", "-t", mime): f"Error: target {mime} not available\n",
            ("xclip", "-sel", "c", "-t", mime): "xclip: the clipboard takes text and images here, not this type\n",
            ("wl-copy", "-t", mime, "x"): "wl-copy: the clipboard takes text and images here, not this type\n",
            ("wl-paste", "-t", mime): "No suitable type of content copied\n",
        }
        for argv, line in refusals.items():
            assert home.run(*argv) == Ran(1, b"", line)
        assert server.requests == []


@pytest.mark.parametrize("text", ["", "topic = 7", 'topic = "a b"', "\0", 'server = "ftp://x"\ntopic = "t"', "[[["])
def test_a_session_file_that_can_t_be_used_is_one_line(text: str, home: Home) -> None:
    home.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home.state / "session").write_text(text)
    ran = home.run("xclip", "-sel", "c", "-o")
    assert (ran.status, ran.out) == (1, b"")
    assert ran.err.count("\n") == 1


def test_the_token_is_sent_to_the_server_and_shown_nowhere(home: Home) -> None:
    with ScriptedServer(respond=lambda i: message(response(i, body="eA=="))) as server:
        home.connect(server.url, token="tk_SECRET")
        assert home.run("xdg-open", "https://x.y/").status == 0
        assert home.run("xclip", "-sel", "c", "-o").out == b"x"
        assert {request.headers.get("authorization") for request in server.requests} == {"Bearer tk_SECRET"}
    assert "tk_SECRET" not in (home.state / "log.jsonl").read_text()


def test_what_the_server_sees_of_a_publish(home: Home) -> None:
    with ScriptedServer() as server:
        home.connect(server.url)
        home.run("xclip", "-sel", "c", stdin="ü".encode())
        home.run("xclip", "-sel", "c", "-t", "image/png", stdin=b"png")
        home.run("wl-copy", stdin=os.urandom(4000))
        home.run("xdg-open", "https://x.y/" + "ü" * 5000)
        text, image, data, url = server.published
    assert (text.method, text.path, text.headers["content-type"]) == ("POST", f"/{TOPIC}", "text/plain")
    assert json.loads(text.body) == {
        "kind": "clip-write", "mime": "text/plain", "body": "w7w=", "id": json.loads(text.body)["id"],
    }  # fmt: skip
    assert (image.method, image.headers["filename"], image.body) == ("PUT", "clip.png", b"png")
    assert json.loads(image.headers["x-message"])["mime"] == "image/png"
    assert (data.method, data.headers["filename"], len(data.body)) == ("PUT", "clip.dat", 4000)
    assert json.loads(url.headers["x-message"])["url"] == "https://x.y/" + "ü" * 5000
