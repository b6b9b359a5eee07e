"""An HTTP server that says exactly the bytes it is told: for answers that no honest server gives."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence


class ScriptedServer:
    """Answers the nth request with the nth script (the last one for all that follow) and closes the connection.

    The bytes of all requests are kept, head and body, to be looked at.
    """

    def __init__(
        self,
        *scripts: bytes | Sequence[bytes],
        tls: ssl.SSLContext | None = None,
        hold: bool = False,
        greeting: bytes = b"",
    ) -> None:
        """Listen.

        Args:
            scripts: Bytes, or pieces that are sent one by one.
            tls: Speak TLS.
            hold: Leave the connection open after an answer, silent.
            greeting: Said before any request, as HTTP servers don't.
        """
        self._scripts = [[script] if isinstance(script, bytes) else list(script) for script in scripts]
        self._tls = tls
        self._hold = hold
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), connection:
            stream = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with stream:
                stream.sendall(self._greeting)
                script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
                self.requests.append(_read_request(stream))
                for piece in script:
                    stream.sendall(piece)
                if self._hold:
                    self._done.wait(60)


def _read_request(stream: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        piece = stream.recv(65536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body


def answer(body: bytes, *, status: str = "200 OK", kind: str = "application/x-ndjson", headers: str = "") -> bytes:
    """Return an HTTP answer with a Content-Length."""
    fields = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{fields}{headers}\r\n".encode() + body
