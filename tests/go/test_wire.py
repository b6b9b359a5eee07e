"""What the stand-in puts on the wire and reads from files, against what is known of the Go program."""

from __future__ import annotations

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.go import laptop, shims, wire
from tests.remote.scripted import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server(BaseHTTPRequestHandler):
    """Writes down what it is asked; to a stream it answers with what `lines` holds."""

    asked: ClassVar[list[Request]] = []
    lines: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append(Request(self.command, self.path, headers, body))
        answer = b"".join(line + b"\n" for line in self.lines) if self.command == "GET" else b"{}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_GET = do_POST  # noqa: N815 - that is how they are called

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of which a session file in a home of its own tells."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "NSSH_NTFY_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    Server.asked.clear()
    Server.lines.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{listener.server_port}"
        session = tmp_path / ".local/state/nssh/session"
        session.parent.mkdir(parents=True)
        session.write_text(f'# a comment\nserver = "{url}/"\ntopic = "nssh_it"\nfeatures = ["types"]\n')
        yield url
        listener.shutdown()
        thread.join()


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_an_open_has_kind_and_url_and_no_id(server: str) -> None:
    assert shims.run("xdg-open", ["https://x.y/?a=1&b=<2>"]) == 0
    [asked] = Server.asked
    assert (asked.method, asked.path, asked.headers["content-type"]) == ("POST", "/nssh_it", "text/plain")
    assert asked.body == rb'{"kind":"open","url":"https://x.y/?a=1\u0026b=\u003c2\u003e"}'


def test_a_short_text_is_inline_and_anything_else_a_file(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, data in (
        (["-i"], b"x" * 3072), (["-i"], b"x" * 3073), (["-t", "image/png"], b"P"), (["-t", "image/jpeg"], b"J"),
    ):  # fmt: skip
        give(monkeypatch, data)
        assert shims.run("xclip", ["-selection", "clipboard", *words]) == 0
    short, long, png, jpeg = Server.asked
    text = json.dumps({"kind": "clip-write", "mime": "text/plain", "body": base64.b64encode(b"x" * 3072).decode()})
    assert short.body.decode() == text.replace(" ", "")
    for asked, name, mime, size in (
        (long, "clip.dat", "text/plain", 3073), (png, "clip.png", "image/png", 1), (jpeg, "clip.dat", "image/jpeg", 1),
    ):  # fmt: skip
        assert (asked.method, asked.path, len(asked.body)) == ("PUT", "/nssh_it", size)
        assert asked.headers["filename"] == name
        assert asked.headers["x-message"] == f'{{"kind":"clip-write","mime":"{mime}"}}'


def test_nothing_is_told_of_an_empty_copy(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, b"")
    assert shims.run("wl-copy", []) == 0
    assert not Server.asked


def test_a_read_asks_first_and_then_follows_from_that_second_on(
    server: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 77)
    monkeypatch.setattr("time.time", lambda: 1234.9)
    answer = {"kind": "clip-read-response", "id": "77", "mime": "text/html", "body": base64.b64encode(b"it").decode()}
    other = {**answer, "id": "78"}
    for envelope in (other, answer):
        Server.lines.append(json.dumps({"event": "message", "message": json.dumps(envelope)}).encode())
    assert shims.run("wl-paste", ["-t", "text/html"]) == 0
    ask, follow = Server.asked
    assert json.loads(ask.body) == {"kind": "clip-read-request", "mime": "text/html", "id": "77"}
    assert (follow.method, follow.path) == ("GET", "/nssh_it/json?since=1234")
    assert capfdbinary.readouterr().out == b"it"


def test_what_the_clipboard_holds_is_not_asked_for(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert shims.run("xclip", ["-selection", "clipboard", "-t", "TARGETS", "-o"]) == 0
    assert capfd.readouterr().out.split() == ["TARGETS", "image/png", "text/plain", "UTF8_STRING", "STRING"]
    assert not Server.asked


def test_which_server_counts(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wire.configuration(session=True) == (f"{server}/", "nssh_it")
    assert wire.configuration(session=False) == ("https://ntfy.sh", "")
    config = tmp_path / ".config/nssh/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('server = "https://pinned"\n[browser]\ncommand = "x"\n')
    assert wire.configuration(session=True) == ("https://pinned", "nssh_it")
    monkeypatch.setenv("NSSH_NTFY_BASE", "https://first")
    assert wire.configuration(session=True) == ("https://first", "nssh_it")
    assert wire.configuration(session=False) == ("https://first", "")


def test_a_server_that_is_no_url_is_refused(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert not laptop.ping("relay/nssh_it")
    with pytest.raises(wire.BusError, match='unsupported protocol scheme "unix"'):
        wire.publish("unix:/home/me/.local/state/nssh/relay.sock/nssh_it", {"kind": "open"})
