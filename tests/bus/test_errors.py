"""What the client makes of servers that refuse, lie, babble or hang; and of credentials, proxies and redirects."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import os
import socket
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.base.errors import BusError, ConnectError
from nssh.bus.client import BusClient
from tests.bus.answers import TOKEN, TOPIC, line, message, refused
from tests.bus.authority import Authority
from tests.lab import ntfy
from tests.lab.scripted import ScriptedServer, answer
from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nssh.ssh.connection import ByteStream


@pytest.fixture(scope="module")
def locked() -> Iterator[ntfy.NtfyServer]:
    with ntfy.running(auth=True) as server:
        yield server


@pytest.mark.real
def test_ntfy_with_a_token_or_a_password_lets_us_in(locked: ntfy.NtfyServer) -> None:
    for client in (
        BusClient(locked.url, token=locked.token),
        BusClient(locked.url, user=ntfy.USER, password=ntfy.PASSWORD),
        BusClient(locked.url.replace("//", f"//{ntfy.USER}:a%20password%3A%20%C3%BC@")),
    ):
        id_ = client.publish(TOPIC, "x").id
        assert client.poll(TOPIC, None)[-1].id == id_
        with client.stream(TOPIC) as stream:
            assert next(iter(stream)).kind == "open"
        file_id = client.publish_file(TOPIC, b"data", "a.dat", "x").id
        assert client.download(file_id) == b"data"


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "topic", "text"),
    [
        ({}, TOPIC, "wants credentials for this topic"),
        ({"token": TOKEN}, TOPIC, "refuses these credentials"),
        ({"user": "nssh", "password": "secret"}, TOPIC, "refuses these credentials"),
        ({"token": "locked"}, "elsewhere", "does not let these credentials use this topic"),
    ],
)
def test_ntfy_refuses_and_the_error_says_what_to_do(
    locked: ntfy.NtfyServer, options: dict[str, str], topic: str, text: str
) -> None:
    if options.get("token") == "locked":
        options = {"token": locked.token}
    client = BusClient(locked.url, **options)  # type: ignore[arg-type]  # only strings
    for call in (
        lambda: client.publish(topic, "secret"),
        lambda: client.poll(topic, None),
        lambda: client.stream(topic).__enter__(),
        lambda: client.publish_file(topic, b"x" * 5_000_000, "secret", "secret"),
    ):
        error = refused(call)
        assert error.kind == "auth"
        assert not error.retryable
        assert text in str(error)
        assert f"127.0.0.1:{locked.port}" in str(error)
        assert "config.toml" in str(error)


@pytest.mark.real
def test_ntfy_with_a_limit_says_so_and_is_worth_a_later_try() -> None:
    with ntfy.running(tight=True) as server:
        client = BusClient(server.url)
        errors: list[BusError] = []

        def limited() -> bool:
            try:
                client.publish(TOPIC, "secret")
            except BusError as error:
                errors.append(error)
            return bool(errors)

        until(limited)
        assert errors[0].kind == "limit"
        assert errors[0].retryable
        assert "too many requests" in str(errors[0])
        assert client.health()
        assert refused(lambda: client.stream(TOPIC).__enter__()).kind == "limit"


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("Retry-After: 17", 17, 17),
        ("Retry-After: 0", 0, 0),
        ("Retry-After: -5", 0, 0),
        ("Retry-After: 1e9", 3600, 3600),
        ("Retry-After: Fri, 15 Jan 2027 08:01:00 GMT\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT", 60, 60),
        (f"Retry-After: {email.utils.formatdate(time.time() + 3600, usegmt=True)}", 3000, 3601),
    ],
    ids=range(6),  # one holds the time, and the workers of pytest-xdist must agree
)
def test_retry_after(header: str, low: float, high: float) -> None:
    script = answer(b'{"code":42901,"http":429}', status="429 Too Many Requests", headers=f"{header}\r\n")
    with ScriptedServer(script) as server:
        error = refused(lambda: BusClient(server.url).publish(TOPIC, "x"))
    assert error.kind == "limit"
    assert error.retry_after is not None
    assert low <= error.retry_after <= high


@pytest.mark.parametrize("header", ["Retry-After: soon", "Retry-After: nan", "Retry-After: Fri, 99 Foo 2027", "X: y"])
def test_no_usable_retry_after(header: str) -> None:
    with ScriptedServer(answer(b"", status="503 Busy", headers=f"{header}\r\n")) as server:
        error = refused(lambda: BusClient(server.url).publish(TOPIC, "x"))
    assert (error.kind, error.retry_after) == ("server", None)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("400 Bad Request", b'{"code":40014,"http":400,"error":"secret"}', "request"),
        ("404 Not Found", b"<html>secret</html>", "request"),
        ("407 Proxy Authentication Required", b"", "request"),
        ("413 Request Entity Too Large", b'{"code":41301}', "size"),
        ("418 I'm secret", b'{"code":"secret"}', "request"),
        ("431 Request Header Fields Too Large", b"secret", "request"),
        ("500 Internal Server Error", b"[" * 100_000, "server"),
        ("502 Bad Gateway", b"\xff\x00secret", "server"),
        ("204 No Content", b"", "server"),
        ("302 Found", b"", "request"),
    ],
)
def test_statuses(status: str, body: bytes, kind: str) -> None:
    with ScriptedServer(answer(body, status=status, headers="Location: https://secret.example/\r\n")) as server:
        client = BusClient(server.url, token=TOKEN)
        for call in (
            lambda: client.publish(TOPIC, "x"),
            lambda: client.poll(TOPIC, None),
            lambda: client.stream(TOPIC).__enter__(),
        ):
            assert refused(call).kind == kind
        assert not client.health()
        # No redirect was followed: one request each, all to this server.
        assert len(server.requests) == 4


@pytest.fixture
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def private(tmp_path: Path) -> Iterator[tuple[ScriptedServer, Path]]:
    """A server on 127.0.0.1 with a certificate of a private authority, and the authority's own."""
    authority = Authority("a company")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.sign("127.0.0.1", tmp_path / "server.pem"))
    with ScriptedServer(answer(line(event="open", id="o") + message("a1")), tls=context) as server:
        yield server, authority.write(tmp_path / "authority.pem")


def polled(server: ScriptedServer) -> list[str]:
    return [each.id for each in BusClient(server.url).poll(TOPIC, None)]


@pytest.mark.usefixtures("no_bundle")
def test_a_private_authority_that_nobody_told_of_is_refused(private: tuple[ScriptedServer, Path]) -> None:
    server, _ = private
    error = refused(lambda: BusClient(server.url, token=TOKEN).publish(TOPIC, "x"))
    assert error.kind == "unreachable"
    assert str(error).startswith(f"the certificate of ntfy at {server.url.removeprefix('https://')} can't be trusted: ")
    assert "; add the authority that signed it to those of this machine" in str(error)
    assert str(error).isprintable()
    assert server.requests in ([], [b""])  # nothing was said to it


@pytest.mark.usefixtures("no_bundle")
def test_an_authority_of_the_system_is_trusted(
    private: tuple[ScriptedServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = private
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))  # where OpenSSL finds the system's
    assert polled(server) == ["a1"]


@pytest.mark.usefixtures("no_bundle")
def test_the_list_of_requests_does_not_count(
    private: tuple[ScriptedServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = private
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(authority))
    assert "certificate" in str(refused(lambda: polled(server)))


@pytest.mark.usefixtures("no_bundle")
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_that_requests_is_told_of_takes_the_place_of_the_system_s(
    private: tuple[ScriptedServer, Path], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = private
    other = Authority("another").write(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    monkeypatch.setenv(name, str(authority))
    assert polled(server) == ["a1"]
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv(name, str(other))
    assert "certificate" in str(refused(lambda: polled(server)))


@pytest.mark.usefixtures("no_bundle")
def test_a_certificate_for_another_host_is_refused_whoever_signed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority("a company")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.sign("127.0.0.2", tmp_path / "server.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path / "authority.pem")))
    with ScriptedServer(b"", tls=context) as server:
        error = refused(lambda: polled(server))
    assert "mismatch" in str(error)
    assert "authority" not in str(error)


def test_tls_to_what_speaks_none() -> None:
    with ScriptedServer(b"", greeting=b"220 smtp secret\r\n") as server:
        error = refused(lambda: BusClient(server.url.replace("http:", "https:")).publish(TOPIC, "x"))
        assert "TLS" in str(error)


def test_closing_a_tls_stream_wakes_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority("a company")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.sign("127.0.0.1", tmp_path / "server.pem"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path / "authority.pem")))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    with ScriptedServer(head + line(event="open", id="o"), tls=context, hold=True) as server:
        stream = BusClient(server.url).stream(TOPIC)
        kinds: list[str] = []

        def follow() -> None:
            with stream:
                kinds.extend(event.kind for event in iter(stream))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        until(lambda: kinds == ["open"])
        stream.close()
        thread.join(20)
        assert not thread.is_alive()


def test_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer(answer(b"")) as server:
        BusClient(server.url).poll(TOPIC, None)
        BusClient(server.url, token=TOKEN).poll(TOPIC, None)
        assert b"uthorization" not in server.requests[0]
        assert f"Authorization: Bearer {TOKEN}".encode() in server.requests[1]
        assert not any(b"Accept-Encoding: gzip" in request or b"Cookie" in request for request in server.requests)


def test_cookies_are_not_kept() -> None:
    with ScriptedServer(answer(b"", headers="Set-Cookie: a=secret; path=/\r\n")) as server:
        client = BusClient(server.url)
        client.poll(TOPIC, None)
        client.poll(TOPIC, None)
        assert b"ookie" not in server.requests[1]


def test_a_proxy_from_the_environment_is_used_for_http_but_never_for_our_own_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedServer(answer(message("a1"))) as server:
        monkeypatch.setenv("http_proxy", server.url)
        assert len(BusClient("http://ntfy.invalid").poll(TOPIC, None)) == 1
        assert server.requests[0].startswith(b"GET http://ntfy.invalid/")
        assert refused(lambda: BusClient("unix:/nonexistent").poll(TOPIC, None)).kind == "unreachable"
        assert len(server.requests) == 1
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "proxy" in str(refused(lambda: BusClient("http://ntfy.invalid").poll(TOPIC, None)))


def test_a_prefix_in_the_address_is_kept() -> None:
    with ScriptedServer(answer(b"")) as server:
        BusClient(f"{server.url}/some/prefix/").poll(TOPIC, "abc")
        assert server.requests[0].startswith(f"GET /some/prefix/{TOPIC}/json?poll=1&since=abc HTTP/1.1".encode())


@pytest.mark.parametrize(
    "server",
    ["", "relay", "ftp://x", "http://", "http://[::1", "http://h:port", "https://h/?q", "unix:x", "http://a\nb"],
)
def test_an_address_that_is_none(server: str) -> None:
    with pytest.raises(BusError) as caught:
        BusClient(server)
    assert caught.value.kind == "request"
    assert "config.toml" in str(caught.value)


@pytest.mark.parametrize("token", ["a b", "tk_\n", "tk_ü"])
def test_a_token_that_no_header_can_carry(token: str) -> None:
    with pytest.raises(BusError) as caught:
        BusClient("http://localhost", token=token)
    assert caught.value.kind == "auth"


def test_what_a_dialler_raises_is_the_error() -> None:
    def dial() -> None:
        try:
            raise FileNotFoundError(2, "No such file or directory")  # a control socket's, not the relay's
        except OSError as below:
            raise ConnectError("the connection to devbox is gone", "closed") from below

    error = refused(lambda: BusClient("relay", dial=dial).publish(TOPIC, "x"))  # type: ignore[arg-type]  # raises first
    assert str(error) == "the connection to devbox is gone"
    assert error.kind == "unreachable"


@pytest.mark.parametrize("error", [errno.ECONNRESET, errno.EPIPE, errno.EPROTOTYPE])
def test_a_connection_that_breaks_while_it_is_made_is_an_error_like_any(error: int) -> None:
    def dial() -> ByteStream:
        raise OSError(error, os.strerror(error))

    client = BusClient("the relay", dial=dial)
    for call in (lambda: client.publish(TOPIC, "x"), lambda: client.poll(TOPIC, None), client.stream(TOPIC).__enter__):
        assert refused(call).kind == "unreachable"


@pytest.mark.skipif(sys.platform != "linux", reason="another kernel says something else to a connection that is cut")
def test_a_request_is_cut_while_it_still_connects() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(5):
            one = stack.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(full.getsockname())
        connecting = set(_connecting_to(full))
        client = BusClient(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=60)
        errors: list[BusError] = []
        poll = threading.Thread(target=lambda: errors.append(refused(lambda: client.poll(TOPIC, None))))
        poll.start()
        until(lambda: set(_connecting_to(full)) - connecting)
        client.close()
        poll.join(30)
        assert [error.kind for error in errors] == ["unreachable"]


def _connecting_to(server: socket.socket) -> list[int]:
    """Return the ports from which somebody waits for a server to take the connection."""
    made = psutil.Process().net_connections("tcp4")
    return [one.laddr[1] for one in made if one.status == psutil.CONN_SYN_SENT and one.raddr == server.getsockname()]


def test_what_a_dialled_command_said_last_is_the_reason() -> None:
    class Dead:
        """A command that could not be run."""

        stderr = "Welcome!\nsh: 1: python3: \x1b[31mnot found\n"

        def sendall(self, _: bytes) -> None:
            raise BrokenPipeError(32, "Broken pipe")

        def recv(self, _: int) -> bytes:
            return b""

        def settimeout(self, _: float | None) -> None:
            """Nothing waits."""

        def fileno(self) -> int:
            return 0

        def close(self) -> None:
            """Nothing to close."""

    error = refused(lambda: BusClient("relay", dial=Dead).publish(TOPIC, "x"))
    assert str(error) == "the relay on the remote can't be reached: sh: 1: python3: [31mnot found"


def test_only_ascii_goes_beside_a_file() -> None:
    client = BusClient("http://127.0.0.1:1")
    for name, text in (("ü.png", "x"), ("a.png", "ü"), ("a.png", "x\r\nEvil: y"), ("a\nb", "x")):
        with pytest.raises(ValueError, match="ASCII"):
            client.publish_file(TOPIC, b"x", name, text)


def test_ids_are_checked_before_they_stand_in_a_path() -> None:
    client = BusClient("http://127.0.0.1:1")
    for bad in ("", "../x", "a?b", "a/b", "x" * 65):
        with pytest.raises(ValueError, match="id"):
            client.download(bad)
        if bad:
            with pytest.raises(ValueError, match="id"):
                client.poll(TOPIC, bad)
