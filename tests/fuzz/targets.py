"""What is fuzzed: each target takes any bytes and may raise nothing but what its module says it raises.

Hypothesis drives them in the test suite (test_fuzz.py), atheris for as long as one likes (`make fuzz`).
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from nssh.base.errors import ToolError
from nssh.local.browser_launcher import LONGEST_URL, UrlRefusedError, check_url
from nssh.local.clipboard_content import Content, canonical_targets, check_uris, text_of
from nssh.relay import protocol
from nssh.remote import nssh_copy_paste, sweep, wayland, xclip, xsel
from nssh.remote.options import BadOption, parse_gnu, parse_x
from nssh.wire import envelope, mimes, quickjson, session_file
from nssh.wire.http import Client, HttpError

if TYPE_CHECKING:
    from collections.abc import Callable


def decode_envelope(data: bytes) -> None:
    """Whatever text arrives is an envelope or refused; what was decoded is encoded and decoded to the same."""
    try:
        found = envelope.decode(data.decode("utf-8", "replace"))
    except envelope.EnvelopeError as error:
        assert len(str(error)) < 200
        return
    text = envelope.encode(found)
    assert text.isascii()
    assert envelope.decode(text) == found
    assert "@" not in envelope.redact(found.url)


def read_json(data: bytes) -> None:
    """Numbers, nesting and escapes of any kind are read or refused, as by `json`."""
    text = data.decode("utf-8", "replace")
    try:
        quickjson.loads(text)
    except ValueError:
        return


def read_session_file(data: bytes) -> None:
    """A session file of any content is one, or is refused in one line that quotes none of it."""
    try:
        found = session_file.parse(data.decode("utf-8", "replace"))
    except session_file.SessionError as error:
        assert "\n" not in str(error)
        return
    again = session_file.parse(session_file.render(found))
    assert again == found


class _Wire:
    """A socket that has received all there will ever be, in pieces of a given size."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data = data
        self._at = 0
        self._piece = max(1, piece)
        self.sent = bytearray()

    def settimeout(self, seconds: float) -> None:
        assert seconds >= 0

    def recv(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + min(size, self._piece)]
        self._at += len(piece)
        return piece

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)


def serve_request(data: bytes) -> None:
    """The relay reads any number of requests and their bodies, or refuses with a status that HTTP has."""
    piece = data[0] if data else 1
    wire: Any = _Wire(data[1:], piece)
    connection = protocol.ServerConnection(wire)
    total = 0
    try:
        while (request := connection.read_request()) is not None:
            assert request.path.startswith("/")
            assert all(name == name.lower() for name in request.headers)
            assert not any(char in value for value in request.headers.values() for char in "\r\n\0")
            request.parameter("message", "m")
            while body := connection.read_body(1000):
                total += len(body)
            assert total <= len(data)
            connection.send_head(200, [("Content-Length", "0")])
    except protocol.BadRequestError as error:
        assert 400 <= error.status < 600
        assert error.status in protocol._REASONS
    except protocol.DisconnectedError:
        return


def read_answer(data: bytes) -> None:
    """A shim's HTTP client takes whatever a server says, in one connection's time, for an answer or an error."""
    near, far = socket.socketpair()
    with near, far:

        def answer() -> None:
            far.sendall(data)
            far.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=answer)
        thread.start()
        client = Client("http://localhost", timeout=5.0)
        connection: Any = client._connection
        connection._socket = near
        connection.open = lambda: None
        try:
            done = client.receive(limit=4096)
            assert len(done.body) <= 4096
        except HttpError as error:
            assert "\n" not in str(error)
        near.close()
        thread.join()


def words(data: bytes) -> list[str]:
    return [os.fsdecode(word) for word in data.split(b"\0")[:50]]


def read_options(data: bytes) -> None:
    """Any command line is read or refused, by each persona's table; nothing is invented."""
    arguments = words(data)
    found = parse_x(arguments, xclip._OPTIONS, xclip._EXACT)
    assert set(found.found) <= set(xclip._OPTIONS)
    assert all(word in arguments for word in [*found.words, *filter(None, found.found.values())])
    for table in (wayland._COPY, wayland._PASTE, nssh_copy_paste.OPTIONS, sweep.OPTIONS):
        try:
            options = parse_gnu(arguments, table)
        except BadOption:
            continue
        assert set(options.found) <= set(table)
        assert all(word in arguments for word in options.words)
    try:
        selected = xsel._parse(arguments)
    except xsel._BadOption:
        return
    assert set(selected.found) <= xsel._NAMES
    assert all(isinstance(part, bool) for part in xsel._mode(selected))


def judge_url(data: bytes) -> None:
    """What passes is printable ASCII, http or https, without a user; and passes again, unchanged."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        checked = check_url(text)
    except UrlRefusedError as error:
        assert "\n" not in str(error)
        return
    assert checked.isascii()
    assert checked.isprintable()
    assert " " not in checked
    assert checked.startswith(("http://", "https://"))
    assert not set(checked) & set("\"'<>\\^`{|}") - {"'"}
    assert "@" not in checked.split("/")[2].split("?")[0].split("#")[0]
    assert len(checked) <= LONGEST_URL
    assert check_url(checked) == checked


def judge_content(data: bytes) -> None:
    """What a clipboard offers, under whatever names, is sorted out; no list of files passes."""
    name, _, rest = data.partition(b"\0")
    offered = [part.decode("latin-1") for part in data.split(b"\n")]
    for mime in canonical_targets(offered):
        assert mimes.canonical(mime) == mime
    assert mimes.canonical(name.decode("latin-1")) in {
        "",
        mimes.canonical(mimes.canonical(name.decode("latin-1")) or "?"),
    }
    text_of(Content(rest), "STRING").read_all().decode()
    try:
        check_uris(Content(rest))
    except ToolError:
        return
    assert b"file:" not in rest.lower().replace(b"\r", b"\n").split(b"\n")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "envelope": decode_envelope,
    "json": read_json,
    "session-file": read_session_file,
    "relay-request": serve_request,
    "http-answer": read_answer,
    "options": read_options,
    "url": judge_url,
    "content": judge_content,
}

SEEDS: dict[str, list[bytes]] = {
    "envelope": [
        b'{"kind":"open","url":"https://u:p@x.y/?q","id":"1"}',
        b'{"kind":"clip-write","mime":"image/png","body":"eA=="}',
        b'{"kind":"\\ud800"}', b'{"kind":null}', b'{"kind":"x","body":"eA"}', b"[" * 3000, b'{"a":' * 2000,
    ],
    "json": [b'{"a":[1,2.5e308,-0,"\\u00fc",null,true]}', b"1" * 5000, b"NaN", b'"\\ud83e\\udd8a"', b"[" * 100_000],
    "session-file": [b'server = "relay"\ntopic = "t"\nfeatures = ["a", "b"]\ntoken = "\\u00fc"\n[x]\n', b'topic = "'],
    "relay-request": [
        b"\x05GET /t/json?since=all&poll=1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xffPUT /t HTTP/1.1\r\nContent-Length: 3\r\nX-Message: =?UTF-8?B?eA==?=\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
        b"\x03POST /t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
        b"\x40POST /t HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        b"\x01GET /%zz%00%ff?%=&&a HTTP/1.1\r\n\r\n",
        b"\x10GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"\x10GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
    "http-answer": [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 No\r\n\r\nbye",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 \xb200 OK\r\n\r\n",
    ],
    "options": [
        b"-sel\0c\0-o\0-t\0image/png", b"-nt\0text/html\0--\0-x", b"--type=a/b\0--p", b"-bi\0-l\0x\0--display",
        b"-t", b"\xff\0-\xfe",
    ],
    "url": [
        b"https://x.y/a?b=c#d", "https://\u00fc\u0327.example/\u2028".encode(), b"http://[::1]:8080/",
        b"http://x:99999/", b"https://a@b/",
        b"javascript:alert(1)", b"http://x/%00\\@y", "http://\u2100.com/".encode(), b"http://[fe80::1%25eth0]/",
        b"HTTP://X.Y:080/",
    ],
    "content": [b"text/html\0<b>", b"image/png;x=y\nUTF8_STRING", b"x\0file:///etc/passwd\r\nhttp://x",
    b"text/uri-list\0FILE:x"],
}  # fmt: skip
