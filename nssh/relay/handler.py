"""Serve the endpoints, publish, subscribe, download and health, as ntfy does (docs/ntfy.md)."""

from __future__ import annotations

import os
import sys
import time

from nssh.relay import message
from nssh.relay.hub import Listener
from nssh.relay.protocol import BadRequestError, DisconnectedError, Request, ServerConnection
from nssh.relay.store import DiskError, Store, TooLargeError, TooManyError
from nssh.wire import CONTENT_LIMIT, MESSAGE_LIMIT
from nssh.wire.session_file import is_topic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.relay.hub import Hub

_NDJSON = "application/x-ndjson; charset=utf-8"
_CHUNK = 64 * 1024
# White space in Go; Python would also strip U+001C to U+001F.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_SPACE += "\u2028\u2029\u202f\u205f\u3000"


class RefusedError(Exception):
    """The request is refused; the answer is ntfy's error object."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.status = code // 100


def _not_found() -> RefusedError:
    return RefusedError(40401, "page not found")


class Handler:
    """Serves connections, each on a thread of its own.

    Args:
        store: The spool.
        hub: The live streams.
        keepalive: Seconds between keepalive events of a quiet stream.
    """

    def __init__(self, store: Store, hub: Hub, keepalive: float) -> None:
        self._store = store
        self._hub = hub
        self._keepalive = keepalive

    def serve(self, connection: ServerConnection) -> None:
        """Answer requests until the client ends or breaks the connection; the caller closes the socket."""
        try:
            while True:
                request = connection.read_request()
                if request is None:
                    return
                self._answer(connection, request)
                if not request.keep_alive or connection.is_broken:
                    connection.linger()
                    return
        except BadRequestError as error:
            connection.is_broken = True
            try:
                self._send(connection, error.status, "text/plain; charset=utf-8", "%s\n" % error)
                connection.linger()
            except DisconnectedError:
                return
        except DisconnectedError:
            return

    def _answer(self, connection: ServerConnection, request: Request) -> None:
        if not request.keep_alive:
            connection.is_broken = True
        try:
            self._route(connection, request)
        except RefusedError as error:
            connection.skip_body()
            body = message.render({"code": error.code, "http": error.status, "error": str(error)})
            self._send(connection, error.status, "application/json", body + "\n")

    def _send(self, connection: ServerConnection, status: int, content_type: str, body: str) -> None:
        data = body.encode("utf-8")
        connection.send_head(status, [("Content-Type", content_type), ("Content-Length", str(len(data)))], data)

    def _route(self, connection: ServerConnection, request: Request) -> None:
        parts = request.path.split("/")[1:]
        if request.method in {"POST", "PUT"} and len(parts) == 1:
            self._publish(connection, request, _topic(parts[0]))
            return
        connection.skip_body()
        if request.method == "GET" and len(parts) == 2:
            if parts == ["v1", "health"]:
                self._send(connection, 200, "application/json", '{"healthy":true}\n')
                return
            if parts[0] == "file":
                self._download(connection, parts[1])
                return
            if parts[1] == "json":
                self._subscribe(connection, request, _topic(parts[0]))
                return
        raise _not_found()

    def _publish(self, connection: ServerConnection, request: Request, topic: str) -> None:
        if connection.announced > CONTENT_LIMIT:
            connection.is_broken = True
            raise RefusedError(41301, "attachment too large, or bandwidth limit reached")
        text = _decode_header(request.parameter("message", "m")).replace("\\n", "\n")
        name = _decode_header(request.parameter("filename", "file", "f"))
        head = b""
        while len(head) <= MESSAGE_LIMIT:
            piece = connection.read_body(MESSAGE_LIMIT + 1 - len(head))
            if not piece:
                break
            head += piece
        body = None if name or len(head) > MESSAGE_LIMIT else _decode_text(head)
        if body is not None:
            line = self._store_message(topic, body.strip(_SPACE).replace("\0", "") or text or "triggered")
        else:
            line = self._receive_attachment(connection, topic, head, name, text)
        subscribers = self._hub.wake(topic)
        answer = '%s,"subscribers":%d}\n' % (line[:-1], subscribers)
        self._send(connection, 200, "application/json", answer)

    def _store_message(self, topic: str, text: str) -> str:
        try:
            return self._store.publish(topic, text)
        except TooManyError:
            raise RefusedError(42908, "limit reached: too many messages are waiting in this topic") from None
        except DiskError as error:
            raise _disk(error) from error

    def _receive_attachment(self, connection: ServerConnection, topic: str, head: bytes, name: str, text: str) -> str:
        content_type, extension = message.sniff(head)
        if name:
            extension = message.extension_of(name) or extension
        else:
            name = "attachment" + extension
        try:
            upload = self._store.upload()
        except DiskError as error:
            raise _disk(error) from error
        try:
            piece = head
            while piece:
                upload.write(piece)
                piece = connection.read_body(_CHUNK)
            upload.close()
            text = text or "You received a file: " + name
            return self._store.publish(topic, text, upload, name, content_type + "|" + extension)
        except BaseException as error:
            upload.abort()
            if isinstance(error, TooLargeError):
                raise RefusedError(41301, "attachment too large, or bandwidth limit reached") from None
            if isinstance(error, TooManyError):
                raise RefusedError(42908, "limit reached: too many messages are waiting in this topic") from None
            if isinstance(error, DiskError):
                raise _disk(error) from error
            raise

    def _download(self, connection: ServerConnection, name: str) -> None:
        identity, dot, extension = name.partition(".")
        if dot and message.extension_of(name) != "." + extension:
            raise _not_found()
        found = self._store.open_file(identity)
        if found is None:
            raise _not_found()
        fd, content_type, size = found
        try:
            headers = [("Content-Type", content_type), ("Content-Length", str(size))]
            connection.send_head(200, headers, os.read(fd, _CHUNK))
            while True:
                data = os.read(fd, 4 * _CHUNK)
                if not data:
                    return
                connection.send(data)
        finally:
            os.close(fd)

    def _subscribe(self, connection: ServerConnection, request: Request, topic: str) -> None:
        polls = request.parameter("poll", "po").lower() in {"1", "true", "yes"}
        since = message.parse_since(request.parameter("since", "si") or ("all" if polls else "none"), time.time())
        if since is None:
            raise RefusedError(40008, "invalid request: since parameter is invalid")
        lines = _Lines(connection, chunked=request.is_modern)
        if polls:
            after = self._store.start_of(since, topic)
            lines.begin("")
            self._replay(lines, topic, after, self._store.last, since.time)
            lines.end()
            return
        listener = Listener(connection.socket)
        self._hub.add(topic, listener)
        try:
            # From now on a new message wakes the listener: so replay to `now` and live stream have no gap between.
            now = self._store.last
            after = self._store.start_of(since, topic)
            lines.begin(_event("open", topic))
            if after < now:
                self._replay(lines, topic, after, now, since.time)
            self._follow(lines, listener, topic, max(now, after))
        finally:
            self._hub.remove(topic, listener)
            listener.close()

    def _replay(self, lines: _Lines, topic: str, after: int, upto: int, not_before: float) -> None:
        more = True
        while more:
            batch, after, more = self._store.fetch(topic, after, upto, not_before)
            if batch:
                lines.send("\n".join(batch) + "\n")

    def _follow(self, lines: _Lines, listener: Listener, topic: str, after: int) -> None:
        """Send new messages in order, read from the store, so that a slow reader costs no memory."""
        quiet_until = time.monotonic() + self._keepalive
        more = True
        while True:
            if not more and not listener.wait(quiet_until - time.monotonic()):
                raise DisconnectedError
            upto = self._store.last
            batch, after, more = self._store.fetch(topic, after, upto) if after < upto else ([], after, False)
            if batch:
                lines.send("\n".join(batch) + "\n")
            elif time.monotonic() >= quiet_until:
                lines.send(_event("keepalive", topic))
            else:
                continue
            quiet_until = time.monotonic() + self._keepalive


class _Lines:
    """Writes an NDJSON answer whose length is not known."""

    def __init__(self, connection: ServerConnection, *, chunked: bool) -> None:
        self._connection = connection
        self._chunked = chunked

    def begin(self, text: str) -> None:
        headers = [("Content-Type", _NDJSON), ("Cache-Control", "no-cache")]
        if self._chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        else:
            self._connection.is_broken = True  # the end of the connection is the end of the answer
        self._connection.send_head(200, headers, self._frame(text) if text else b"")

    def send(self, text: str) -> None:
        self._connection.send(self._frame(text))

    def _frame(self, text: str) -> bytes:
        data = text.encode("ascii")
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data

    def end(self) -> None:
        if self._chunked:
            self._connection.send(b"0\r\n\r\n")


def _topic(text: str) -> str:
    if not is_topic(text):
        raise _not_found()
    if text in message.RESERVED:
        raise RefusedError(40010, "invalid request: topic name is not allowed")
    return text


def _event(kind: str, topic: str) -> str:
    return message.render({"id": message.new_id(), "time": int(time.time()), "event": kind, "topic": topic}) + "\n"


def _disk(error: DiskError) -> RefusedError:
    sys.stderr.write("nssh relay: %s\n" % error)
    return RefusedError(50701, str(error))


def _decode_text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _decode_header(value: str) -> str:
    """Return a header's value with RFC 2047 words decoded; unchanged if they are malformed."""
    if "=?" not in value:
        return value
    from email.errors import HeaderParseError
    from email.header import decode_header, make_header

    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, UnicodeError, LookupError, ValueError):
        return value
