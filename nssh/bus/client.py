"""Use the ntfy API of a server, ntfy or the relay: publish, poll, stream, download (docs/ntfy.md)."""

from __future__ import annotations

import contextlib
import io
import re
import time
from typing import TYPE_CHECKING, Final

from nssh.base.errors import BusError
from nssh.bus import failures
from nssh.bus.live_stream import LiveStream, expect_ndjson, read_events
from nssh.bus.messages import (
    Backlog,
    BadLineError,
    Lines,
    Message,
    Published,
    parse_object,
    parse_published,
    valid_id,
)
from nssh.bus.sockets import Cutter
from nssh.bus.transport import Transport, parse_address
from nssh.wire import CONTENT_LIMIT, MESSAGE_LIMIT
from nssh.wire import envelope as wire
from nssh.wire.session_file import is_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from nssh.bus.upload import Upload
    from nssh.ssh.connection import ByteStream

POLL_MAX: Final = 64 << 20
"""Bytes of one poll's answer that are read; the next poll reads on."""
DEAD_AFTER: Final = 90.0
"""Seconds without a byte after which a stream counts as dead; servers send a keepalive every 45 s."""
PATIENCE: Final = 2.0
"""Seconds to retry the download of a file whose message was just sent."""
_SETTLED: Final = 60.0  # seconds after its message at which a missing file will not appear any more
_POLL_LIMIT: Final = POLL_MAX + (8 << 20)  # an answer of more than POLL_MAX without a message is an attack
_POLL_SECONDS: Final = 60.0
_DOWNLOAD_SECONDS: Final = 60.0
_SLOWEST: Final = 64 << 10  # bytes a second: a slower download is a server that holds us up, not a slow link
_ANSWER_MAX: Final = 2 << 20  # the answer to a publish holds the message, JSON-escaped
_FILE_TEXT = "You received a file: "


class BusClient:
    """A client of one bus server, with one connection that is kept for requests, and one for each open stream.

    Any method may be called from any thread. A request that comes while another one is under way takes a connection of
    its own. Every method but `close` blocks, for `timeout` seconds a step at most, and raises `BusError`,
    whose text never holds topic, token or payload.
    """

    def __init__(
        self,
        server: str,
        *,
        token: str = "",
        user: str = "",
        password: str = "",
        dial: Callable[[], ByteStream] | None = None,
        timeout: float = 10.0,
        dead_after: float = DEAD_AFTER,
    ) -> None:
        """Keep the settings; nothing is opened.

        Args:
            server: `http(s)://host[:port][/prefix]` or `unix:/path`; ignored if `dial` is given.
            token: An ntfy access token; used rather than user and password.
            user: For basic authentication.
            password: For basic authentication.
            dial: Opens a new stream to the server, for each connection; its errors are raised as BusError.
            timeout: Seconds for connecting, and for each wait for bytes of an answer.
            dead_after: Seconds without a byte, keepalives included, after which a stream counts as dead.

        Raises:
            BusError: Server or token are malformed (kinds `request`, `auth`).
        """
        address = parse_address(server, dial, timeout)
        self._transport = Transport(address, token=token, user=user, password=password, timeout=timeout)
        self._dead_after = dead_after
        self._cutter = Cutter()
        self._session = self._transport.session(self._cutter)

    @property
    def where(self) -> str:
        """The server's name in error texts."""
        return self._transport.where

    @property
    def server_time(self) -> float | None:
        """The last time told by the server (Date of an answer, time of an event); seconds since the epoch, or None."""
        return self._transport.server_time

    def publish(self, topic: str, text: str) -> Published:
        """Publish a text. ntfy trims it, turns an empty one into "triggered", and one of 4096 bytes into an attachment.

        After an error of kind `unreachable` the server may have the message: whoever publishes it again has to put an
        id into the text, by which the receiver recognises it.
        """
        return self._publish("POST", topic, text.encode(), {"Content-Type": "text/plain"})

    def publish_file(self, topic: str, data: bytes | Upload, filename: str, text: str) -> Published:
        r"""Publish a file with a text beside it.

        The text travels in a header, where ntfy turns the two characters `\n` into a line break.

        Raises:
            ValueError: The text or the name is not printable ASCII.
            BusError: As for every method; kind `size` if the file is too large for the server.
        """
        for value in (filename, text):
            if not (value.isascii() and value.isprintable()):
                raise ValueError("a file's name and text must be printable ASCII")
        headers = {"Content-Type": "application/octet-stream", "Filename": filename, "X-Message": text}
        return self._publish("PUT", topic, data, headers)

    def publish_envelope(self, topic: str, envelope: wire.Envelope, payload: Upload | None = None) -> Published:
        """Publish an envelope, with its payload inside or as an attachment (docs/protocol.md, "Envelopes").

        If `payload` is given, it is the attachment, and the envelope has no body. Otherwise the envelope's body becomes
        an attachment if the encoded envelope would be longer than a message may be.
        """
        if payload is not None:
            return self.publish_file(
                topic, payload, wire.attachment_name(envelope.mime), _for_header(wire.encode(envelope))
            )
        text = wire.encode(envelope)
        size = len(envelope.body)
        # Without a payload there is nothing to attach, and ntfy answers the download of an empty file with 429.
        if not size or (len(text) <= MESSAGE_LIMIT and not wire.wants_attachment(envelope.mime, size)):
            return self.publish(topic, text)
        head = wire.Envelope(envelope.kind, envelope.url, envelope.mime, b"", envelope.id)
        return self.publish_file(
            topic, envelope.body, wire.attachment_name(envelope.mime), _for_header(wire.encode(head))
        )

    def poll(self, topic: str, since: str | None) -> Backlog:
        """Return the messages after the message with the id `since`, or all if it is None, in the order of the bus.

        A server that does not know the id returns everything (docs/ntfy.md, trap 1): the caller drops what it knows.
        """
        if since is not None and not valid_id(since):
            raise ValueError("since is not a message id")
        params = {"poll": "1", "since": since or "all"}
        response = self._transport.send(self._session, "GET", self._path(topic, "/json"), params=params)
        return self._read_backlog(response)

    def connect_ahead(self) -> None:
        """Connect to the relay for the next request, which saves it the way there; errors are left to that request."""
        self._transport.connect_ahead(self._session)

    def stream(self, topic: str) -> LiveStream:
        """Return a live stream of the topic, which `with` opens; it yields what is published from then on."""
        return LiveStream(self._transport, self._path(topic, "/json"), self._dead_after)

    def download(
        self, message_id: str, limit: int = CONTENT_LIMIT, size: int | None = None, *, patience: float = PATIENCE
    ) -> bytes:
        """Return the file that came with a message; it is fetched from our own server, whatever URL the message holds.

        Args:
            message_id: The message's id.
            limit: The most bytes that are accepted.
            size: The size that the message told, which is checked; None if it told none.
            patience: Seconds to retry if the file is missing: ntfy sends a message to its streams before the file can
                be fetched (docs/ntfy.md, trap 1).

        Raises:
            BusError: The file is larger than `limit` (kind `size`), missing (`gone`), cut short (`unreachable`), or as
                for every method.
        """
        data = bytearray()
        self.download_to(message_id, data.extend, limit, size, patience=patience)
        return bytes(data)

    def download_to(
        self,
        message_id: str,
        write: Callable[[bytes], object],
        limit: int = CONTENT_LIMIT,
        size: int | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        """As `download`, but pass the file to `write` piece by piece; after an error the pieces are not the whole."""
        if not valid_id(message_id):
            raise ValueError("not a message id")
        give_up, pause = time.monotonic() + patience, 0.01
        while (response := self._find_file(message_id)) is None:
            if time.monotonic() + pause > give_up:
                raise BusError(f"{self.where} does not have this file (any more)", "gone")
            time.sleep(pause)
            pause *= 2
        got = 0
        for piece in self._transport.chunks(response, limit, _DOWNLOAD_SECONDS + limit / _SLOWEST):
            got += len(piece)
            write(piece)
        if size is not None and size != got:
            raise BusError(f"{self.where} sent {got} of the {size} bytes of a file", "unreachable")

    def patience(self, sent: int) -> float:
        """Return the `patience` for the file of a message sent at `sent` (seconds since the epoch, server's clock)."""
        return PATIENCE if self.server_time is None or self.server_time - sent < _SETTLED else 0.0

    def _find_file(self, message_id: str) -> requests.Response | None:
        try:
            return self._transport.send(self._session, "GET", f"/file/{message_id}")
        except BusError as error:
            if error.kind != "request":
                raise
            return None

    def full_text(self, message: Message) -> str:
        """Return a message's text as it was published, also if ntfy turned it into an attachment because of its length.

        The Go shims' envelopes are that long from 3072 bytes of payload on.

        Raises:
            BusError: The attachment can't be fetched.
        """
        attachment = message.attachment
        # ntfy chooses the extension by the content: .txt, .json, …
        if attachment is None or not (
            message.text.startswith(_FILE_TEXT) and attachment.name.startswith("attachment.")
        ):
            return message.text
        patience = self.patience(message.time)
        return self.download(message.id, wire.MAX_TEXT, attachment.size, patience=patience).decode("utf-8", "replace")

    def health(self) -> bool:
        """Return whether the server answers that it is healthy; False after any other answer or error."""
        try:
            response = self._transport.send(self._session, "GET", "/v1/health")
            answer = parse_object(b"".join(self._transport.chunks(response, 1 << 16, self._transport.timeout)))
        except (BusError, BadLineError):
            return False
        return answer.get("healthy") is True

    def close(self) -> None:
        """Abort every request under way and drop the kept connection, as after a change of the network; any thread.

        The aborted requests raise BusError of kind `unreachable`; the next ones connect anew. Streams go on, and have
        to be closed by whoever opened them.
        """
        self._cutter.cut()
        self._session.close()

    def _path(self, topic: str, rest: str = "") -> str:
        if not is_topic(topic):
            raise BusError("the topic is not one that ntfy takes: 1 to 64 letters, digits, - and _", "request")
        return f"/{topic}{rest}"

    def _publish(self, method: str, topic: str, data: bytes | Upload, headers: dict[str, str]) -> Published:
        # Pieces of a file object have a timeout each; bytes have one for the whole body, too short on a slow link.
        body: bytes | io.BytesIO | Upload = data
        if isinstance(data, bytes) and len(data) > MESSAGE_LIMIT:
            body = io.BytesIO(data)
        response = self._transport.send(self._session, method, self._path(topic), headers=headers, data=body)
        answer = b"".join(self._transport.chunks(response, _ANSWER_MAX, self._transport.timeout))
        failure = None
        try:
            published = parse_published(answer)
        except BadLineError:
            failure = failures.nonsense(self.where)
        if failure is not None:
            raise failure
        self._transport.saw_time(published.time)
        return published

    def _read_backlog(self, response: requests.Response) -> Backlog:
        expect_ndjson(response, self.where)
        backlog, lines, total = Backlog(), Lines(), 0
        backlog.truncated = response.headers.get("X-Messages-Truncated", "") not in {"", "0", "false"}
        # If only the end of the connection ended the answer, it may have been cut off.
        backlog.complete = response.raw.chunked or "Content-Length" in response.headers
        enough = time.monotonic() + _POLL_SECONDS
        with contextlib.closing(self._transport.chunks(response, _POLL_LIMIT, 2 * _POLL_SECONDS)) as chunks:
            for chunk in chunks:
                total += len(chunk)
                events = read_events(lines.feed(chunk), self.where)
                backlog += (event.message for event in events if event.message is not None)
                if backlog and (total > POLL_MAX or time.monotonic() > enough):
                    backlog.complete = False
                    break
        return backlog


def _for_header(json_text: str) -> str:
    r"""Return the same JSON without the two characters `\n`, which ntfy turns into a line break in headers."""
    return re.sub(r"\\[n\\]", lambda match: {"\\n": "\\u000a", "\\\\": "\\u005c"}[match.group()], json_text)
