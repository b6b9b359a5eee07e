"""Finding callbacks in URLs, and as much of HTTP as carrying them needs."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nssh.local.browser_launcher import LONGEST_URL
from nssh.local.callback_finder import MOST_CALLBACKS, Callback, find_callbacks
from nssh.local.callback_http import (
    LONGEST_HEAD,
    Conversation,
    NotHttpError,
    is_for_loopback,
    is_tls,
    read_request,
    refusal,
)

PROVIDER = "https://provider.example/oauth/authorize?client_id=x&redirect_uri="


def encode(text: str) -> str:
    return quote(text, safe="")


def base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


JWT = f"{base64url(json.dumps({'alg': 'none'}))}.{base64url(json.dumps({'r': 'http://localhost:7777/x'}))}.sig"

FOUND = {
    # gh, gcloud, and others as they are
    "gh": (
        "https://github.com/login/oauth/authorize?client_id=1&redirect_uri=http%3A%2F%2F127.0.0.1%3A39447%2Fcallback&s=x",
        Callback("127.0.0.1", 39447, "/callback"),
    ),
    "gcloud": (
        "https://accounts.google.com/o/oauth2/auth?redirect_uri=http%3A%2F%2Flocalhost%3A8085%2F&scope=openid+https%3A%2F",
        Callback("localhost", 8085, "/"),
    ),
    "az": (
        "https://login.microsoftonline.com/x/authorize?redirect_uri=http%3A%2F%2Flocalhost%3A33511&response_mode=form_post",
        Callback("localhost", 33511, "/"),
    ),
    "a command of one's own": ("http://localhost:8888/lab?token=x", Callback("localhost", 8888, "")),
    "where a login begins": ("http://[::1]:8000/", Callback("::1", 8000, "")),
    "https": (PROVIDER + encode("https://localhost:3118/cb"), Callback("localhost", 3118, "/cb", secure=True)),
    "not encoded": (PROVIDER + "http://localhost:8000/a?b=c", Callback("localhost", 8000, "/a")),
    "encoded": (PROVIDER + encode("http://[::1]:8000/a?b=c"), Callback("::1", 8000, "/a")),
    "encoded twice": (PROVIDER + encode(encode("http://[::1]:8000/a")), Callback("::1", 8000, "/a")),
    "encoded three times": (PROVIDER + encode(encode(encode("http://[::1]:8000/a"))), Callback("::1", 8000, "/a")),
    "a URL in a URL": (
        "https://sso.example/?continue=" + encode(PROVIDER + encode("http://127.0.0.1:8000/a")),
        Callback("127.0.0.1", 8000, "/a"),
    ),
    "in the fragment": (
        "https://app.example/#/login?redirect_uri=" + encode("http://localhost:8000/a"),
        Callback("localhost", 8000, "/a"),
    ),
    "a relative URL in a parameter": (
        "https://a.example/login?next=" + encode("/authorize?redirect_uri=" + encode("http://localhost:8000/a")),
        Callback("localhost", 8000, "/a"),
    ),
    "JSON": (
        "https://a.example/?state=" + encode(json.dumps({"a": [1, {"back": "http://localhost:8000/a"}]})),
        Callback("localhost", 8000, "/a"),
    ),
    "base64": (
        "https://a.example/?state=" + base64url("http://localhost:8000/callback"),
        Callback("localhost", 8000, "/callback"),
    ),
    "JSON in base64": (
        "https://a.example/?state=" + encode(base64.b64encode(b'{"r":"http://localhost:8000/~?"}').decode()),
        Callback("localhost", 8000, "/~"),
    ),
    "a JSON web token": (f"https://a.example/?request={JWT}", Callback("localhost", 7777, "/x")),
    "upper case": (PROVIDER + "HTTP://LocalHost:8000/A", Callback("localhost", 8000, "/A")),
    "no port": (PROVIDER + encode("http://localhost/cb"), Callback("localhost", 80, "/cb")),
    "an empty port": (PROVIDER + encode("http://localhost:/cb"), Callback("localhost", 80, "/cb")),
    "no port of https": (PROVIDER + encode("https://localhost"), Callback("localhost", 443, "/", secure=True)),
    "a port with zeros": (PROVIDER + "http://localhost:08085/", Callback("localhost", 8085, "/")),
    "an encoded path": (PROVIDER + encode("http://localhost:8000/a%20b"), Callback("localhost", 8000, "/a b")),
}


@pytest.mark.parametrize("case", FOUND)
def test_a_callback_is_found(case: str) -> None:
    url, expected = FOUND[case]
    assert find_callbacks(url) == (expected,)


# Whatever a browser makes of them: no program writes its redirect URI like this, but somebody who wants to mislead.
TRICKS = [
    "http://localhost.evil.example:8000/",
    "http://127.0.0.1.nip.io:8000/",
    "http://localhost:8000@evil.example/",
    "http://user@localhost:8000/",
    "http://user:pass@127.0.0.1:8000/",
    "http://evil.example\\@localhost:8000/",
    "http://localhost:8000\\@evil.example/",
    "http://localhost\\.evil.example:8000/",
    "http://127.1:8000/",
    "http://127.0.1:8000/",
    "http://127.0.0.2:8000/",
    "http://0x7f000001:8000/",
    "http://0x7f.0.0.1:8000/",
    "http://0177.0.0.1:8000/",
    "http://2130706433:8000/",
    "http://0.0.0.0:8000/",
    "http://0:8000/",
    "http://[::]:8000/",
    "http://[0:0:0:0:0:0:0:1]:8000/",
    "http://[::ffff:127.0.0.1]:8000/",
    "http://[::1%25lo]:8000/",
    "http://[::1]evil.example:8000/",
    "http://::1:8000/",
    "http://localhost.:8000/",
    "http://a.localhost:8000/",
    "http://localhost%2eevil.example:8000/",
    "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:8000/",
    "http://\u217cocalhost:8000/",
    "http://127。0。0。1:8000/",
    "http://localhost:0/",
    "http://localhost:65536/",
    "http://localhost:99999999/",
    "http://localhost:-1/",
    "http://localhost:+8000/",
    "http://localhost:8_0/",
    "http://localhost:\uff18000/",
    "http://localhost:80:80/",
    "http://localhost:8000 /",
    "http://local\thost:8000/",
    "http:localhost:8000/",
    "http:/localhost:8000/",
    "http:///localhost:8000/",
    "//localhost:8000/",
    "ftp://localhost:8000/",
    "ws://localhost:8000/",
    "javascript://localhost:8000/",
    "localhost:8000/",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_what_only_looks_like_a_loopback_address_is_none(trick: str) -> None:
    for layers in range(3):
        text = trick
        for _ in range(layers):
            text = encode(text)
        assert find_callbacks(PROVIDER + text) == ()
    assert find_callbacks(trick) == ()
    assert find_callbacks(f"https://a.example/?state={base64url(trick)}") == ()
    assert find_callbacks("https://a.example/?state=" + encode(json.dumps([trick]))) == ()


@pytest.mark.parametrize(
    "url",
    ["https://example.com/", "https://example.com/http://localhost:8000/", "https://example.com/?q=localhost:8000", ""],
)
def test_a_page_that_only_speaks_of_it_is_none(url: str) -> None:
    assert find_callbacks(url) == ()


def test_several_callbacks_come_in_their_order_each_once_and_not_too_many() -> None:
    parts = [encode(f"http://localhost:{8000 + number % 7}/") for number in range(20)]
    found = find_callbacks("https://a.example/?" + "&".join(f"a{n}={part}" for n, part in enumerate(parts)))
    assert [callback.port for callback in found] == [8000, 8001, 8002, 8003][:MOST_CALLBACKS]


def test_a_name_may_mean_either_family_and_an_address_only_its_own() -> None:
    assert Callback("localhost", 1, "/").addresses == ("127.0.0.1", "::1")
    assert Callback("127.0.0.1", 1, "/").addresses == ("127.0.0.1",)
    assert Callback("::1", 1, "/").addresses == ("::1",)


def as_parameter(text: str) -> str:
    return "state=" + encode(text)


def as_redirect(text: str) -> str:
    return PROVIDER + encode(text)


def onion(depth: int, text: str) -> str:
    while depth and len(text) < LONGEST_URL:
        text = base64url(json.dumps([text, text])) if depth % 2 else encode(f"a={text}&b={text}")
        depth -= 1
    return text


@pytest.mark.parametrize(
    "text",
    [
        "%25" * 2700,
        "[" * 8000,
        '{"a":' * 1600,
        json.dumps(["a=" + "&a=" * 50] * 30),
        "&".join(["a"] * 4000),
        "=" * 8000,
        "?a=" * 2700,
        onion(9, "http://localhost:80@"),
        onion(12, "%41%41%41%41"),
        "http://" * 1100,
        "." * 8000,
        "A" * 8000,
        json.dumps("http://localhost" * 500),
        encode(json.dumps([base64url("a=%2541&" * 100)] * 7)),
    ],
)
def test_hostile_text_is_no_work(text: str) -> None:
    started = time.process_time()
    find_callbacks(PROVIDER + text)
    find_callbacks(f"https://a.example/?state={encode(text)}"[:LONGEST_URL])
    assert time.process_time() - started < 2


URLISH = st.lists(
    st.sampled_from([*'abc019%=&?#/:@.[]{}",\\+-_ é\t', "http://", "localhost", "127.0.0.1", "[::1]", "%25", "%3A"])
).map("".join)


@given(st.one_of(st.text(max_size=2000), URLISH))
@example("http://localhost:8000/\udc80")
@example("HTTP://LOCALHOST")
@example("https://a/?state=" + base64url("\x00" * 40))
@example('{"a":1e999,"b":[null,true,"http://localhost:1/"]}')
def test_any_text_is_looked_through(text: str) -> None:
    for url in (text, PROVIDER + text, PROVIDER + quote(text, safe="", errors="replace")):
        found = find_callbacks(url)
        assert len(found) <= MOST_CALLBACKS
        assert len(set(found)) == len(found)
        for callback in found:
            assert callback.host in {"localhost", "127.0.0.1", "::1"}
            assert 0 < callback.port < 1 << 16
            assert callback.path.startswith("/") or url == text  # its own address has no path


@given(
    host=st.sampled_from(["localhost", "127.0.0.1", "[::1]"]),
    port=st.integers(1, 65535),
    path=st.text(st.sampled_from("abc/-._~é %?#&=+"), max_size=30),
    layers=st.lists(st.sampled_from([encode, base64url, json.dumps, as_redirect, as_parameter]), max_size=3),
)
def test_what_is_wrapped_is_found(host: str, port: int, path: str, layers: list[object]) -> None:
    text = f"http://{host}:{port}/{encode(path)}"
    for layer in layers:
        assert callable(layer)
        text = layer(text)
    found = find_callbacks(f"https://a.example/?x={encode(text)}")
    assert found == (Callback(host.strip("[]"), port, "/" + path),)


# --- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /callback?code=1&state=2 HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "/callback")),
        (b"POST / HTTP/1.1\r\n", ("POST", "/")),
        (b"GET /a%20b HTTP/1.1", ("GET", "/a b")),
        (b"OPTIONS * HTTP/1.1", ("OPTIONS", "*")),
        (b"GET /a#b", ("GET", "/a")),
        (b"", None),
        (b"G", None),
        (b"GET", None),
        (b"GET ", None),
        (b"GET /call", None),
    ],
)
def test_a_request_tells_its_path(head: bytes, expected: tuple[str, str] | None) -> None:
    assert read_request(head) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00",  # TLS
        b"SSH-2.0-OpenSSH\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # PostgreSQL asks for TLS so
        b"get / HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET\r\n",
        b"\r\nGET / HTTP/1.1",
        b"GET /" + b"a" * LONGEST_HEAD,
        b"A" * 20,
    ],
)
def test_what_is_no_request_is_refused(head: bytes) -> None:
    with pytest.raises(NotHttpError):
        read_request(head)


@given(st.binary(max_size=100), st.integers(0, 100))
def test_a_request_in_two_pieces_reads_like_one(rest: bytes, at: int) -> None:
    head = b"GET /callback" + rest
    try:
        whole = read_request(head)
        early = read_request(head[:at])
    except NotHttpError:
        return
    assert early in {None, whole}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"Host: localhost:8085\r\n", True),
        (b"host:127.0.0.1:8085 \r\n", True),
        (b"Host: [::1]:8085\r\n", True),
        (b"HOST: LocalHost\r\n", True),
        (b"Host: my_app.dev.localhost:1\r\n", True),
        (b"Host: localhost.:1\r\n", True),
        (b"", True),
        (b"Host: evil.example:8085\r\n", False),
        (b"Host: localhost.evil.example\r\n", False),
        (b"Host: evillocalhost\r\n", False),
        (b"Host: evil.example#localhost\r\n", False),
        (b"Host: 127.0.0.1.evil.example\r\n", False),
        (b"Host: localhost:1@evil.example\r\n", False),
        (b"Host:\r\n", False),
    ],
)
def test_a_request_by_another_name_is_told(host: bytes, expected: bool) -> None:  # noqa: FBT001
    head = b"GET /?Host:%20localhost HTTP/1.1\r\nX-Host: localhost\r\n" + host + b"\r\nHost: localhost\r\n"
    assert is_for_loopback(head) is expected
    told = [is_for_loopback(head[:at]) for at in range(len(head))]
    assert told == sorted(told, key=[None, expected].index), "nothing is told before all of it is there"


def test_tls_is_told_from_a_request() -> None:
    assert is_tls(b"\x16\x03\x01")
    assert not is_tls(b"GET / HTTP/1.1")
    assert not is_tls(b"")


REQUEST = b"GET /callback?code=x HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATHS = frozenset({"/callback"})


@pytest.mark.parametrize(
    ("request_", "answer", "success"),
    [
        (REQUEST, b"HTTP/1.1 200 OK\r\n", True),
        (REQUEST, b"HTTP/1.0 200 OK\r\n", True),
        (REQUEST, b"HTTP/1.1 302 Found\r\n", True),
        (REQUEST.replace(b"GET", b"POST"), b"HTTP/1.1 204 No Content\r\n", True),
        (REQUEST, b"HTTP/1.1 404 Not Found\r\n", False),
        (REQUEST, b"HTTP/1.1 500 Oops\r\n", False),
        (REQUEST, b"HTTP/1.1 100 Continue\r\n", False),
        (REQUEST, b"SSH-2.0-OpenSSH_9\r\n", False),
        (REQUEST, b"HTTP/1.1", False),
        (REQUEST.replace(b"/callback", b"/favicon.ico"), b"HTTP/1.1 200 OK\r\n", False),
        (REQUEST.replace(b"/callback", b"/callback/more"), b"HTTP/1.1 200 OK\r\n", False),
        (REQUEST.replace(b"GET", b"OPTIONS"), b"HTTP/1.1 204 OK\r\n", False),
        (REQUEST.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\n", False),
    ],
)
@pytest.mark.parametrize("piece", [1000, 1])
def test_success_is_a_good_answer_to_the_callback(request_: bytes, answer: bytes, success: bool, piece: int) -> None:  # noqa: FBT001
    talk = Conversation(PATHS)
    for at in range(0, len(request_), piece):
        talk.sent(request_[at : at + piece])
    seen = [talk.answered(answer[at : at + piece]) for at in range(0, len(answer), piece)]
    assert seen.count(True) == success


def test_the_callback_may_be_a_later_request_of_a_connection() -> None:
    talk = Conversation(PATHS)
    talk.sent(b"GET /favicon.ico HTTP/1.1\r\n\r\n")
    assert not talk.answered(b"HTTP/1.1 200 OK\r\n\r\n")
    talk.sent(REQUEST)
    talk.sent(b"body that looks like GET /callback HTTP/1.1")
    assert talk.answered(b"HTTP/1.1 200 OK\r\n\r\n")
    assert not talk.answered(b"HTTP/1.1 200 OK\r\n\r\n")


def test_a_body_is_no_request() -> None:
    talk = Conversation(PATHS)
    talk.sent(b"POST /other HTTP/1.1\r\nContent-Length: 50\r\n\r\n")
    talk.sent(b"GET /callback HTTP/1.1\r\n\r\n")
    assert not talk.answered(b"HTTP/1.1 200 OK\r\n")


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=20))
def test_any_conversation_is_followed(pieces: list[tuple[bool, bytes]]) -> None:
    talk = Conversation(PATHS)
    for is_answer, data in pieces:
        if is_answer:
            talk.answered(data)
        else:
            talk.sent(data)


def test_a_refusal_is_plain_text_of_the_length_it_says() -> None:
    head, _, body = refusal("502 Bad Gateway", "é <b>").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"text/plain" in head
    assert b"nosniff" in head
