"""A bus that misbehaves on purpose: a small HTTP server on loopback whose answers each test dictates."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

from tests.remote.support import DEADLINE, TOPIC

if TYPE_CHECKING:
    from collections.abc import Callable


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


class ScriptedServer:
    """Answers publishes with `publish(request)`; a subscription gets `open`, and after a publish what `respond` says.

    Args:
        publish: Returns the raw answer to a POST or PUT; None closes the connection without one.
        respond: Takes the id of the read request; returns the raw lines that follow on the stream.
        files: What `GET /file/<name>` gives.
        polled: Takes the id of the read request; returns the lines that a poll gives.
    """

    def __init__(
        self,
        publish: Callable[[Request], bytes | None] = lambda _: answer(200),
        respond: Callable[[str], bytes] = lambda _: b"",
        files: dict[str, bytes] | None = None,
        polled: Callable[[str], bytes] = lambda _: b"",
    ) -> None:
        self.requests: list[Request] = []
        self._publish = publish
        self._respond = respond
        self._files = {} if files is None else files
        self._polled = polled
        self._asked = threading.Condition()
        self._id = ""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._closing = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with self._asked:
            self._asked.notify_all()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()

    @property
    def published(self) -> list[Request]:
        return [request for request in self.requests if request.method in {"POST", "PUT"}]

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE)
        try:
            with connection, connection.makefile("rb") as file:
                self._answer(connection, self._read(file.readline, file.read))
        except (OSError, ValueError):
            return  # the shim was satisfied, or gave up: tests look at what it did

    def _read(self, readline: Callable[[], bytes], read: Callable[[int], bytes]) -> Request:
        method, path, _ = readline().decode().split(" ")
        headers = {}
        while line := readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        request = Request(method, path, headers, read(int(headers.get("content-length", "0"))))
        self.requests.append(request)
        return request

    def _answer(self, connection: socket.socket, request: Request) -> None:
        if request.path == f"/{TOPIC}/json":
            self._stream(connection)
        elif request.path.startswith(f"/{TOPIC}/json?poll=1&since="):
            connection.sendall(answer(200, self._polled(self._id)))
        elif request.path.startswith("/file/"):
            content = self._files.get(request.path[6:])
            connection.sendall(answer(404) if content is None else answer(200, content))
        elif (data := self._publish(request)) is not None:
            connection.sendall(data)
            with self._asked:
                text = request.headers.get("x-message") or request.body.decode()
                envelope = json.loads(text)
                if envelope["kind"] == "clip-read-request":
                    self._id = envelope["id"]
                    self._asked.notify_all()

    def _stream(self, connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"event":"open"}\n')
        with self._asked:
            assert self._asked.wait_for(lambda: self._id or self._closing, DEADLINE)
        connection.sendall(self._respond(self._id))
        if not self._closing:
            connection.recv(1)  # until the shim closes


def message(text: str, attachment: dict[str, object] | None = None) -> bytes:
    event: dict[str, object] = {"event": "message", "message": text}
    if attachment is not None:
        event["attachment"] = attachment
    return json.dumps(event).encode() + b"\n"


def response(identity: str, **fields: object) -> str:
    return json.dumps({"kind": "clip-read-response", "id": identity, "mime": "text/plain", **fields})
