"""The client of the ntfy API: publish, poll, stream, download; ntfy or the relay alike (docs/ntfy.md)."""

from __future__ import annotations

import contextlib
import io
import re
import time
from typing import TYPE_CHECKING, Final

from nssh.base.errors import BusError
from nssh.bus import failures
from nssh.bus.messages import (
    Backlog,
    BadLineError,
    Lines,
    Message,
    Published,
    parse_object,
    parse_published,
    valid_id,
    valid_topic,
)
from nssh.bus.sockets import Cutter
from nssh.bus.stream import Stream, expect_ndjson, read_events
from nssh.bus.transport import Transport, parse_address
from nssh.wire import CONTENT_LIMIT, MESSAGE_LIMIT
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from nssh.bus.upload import Upload
    from nssh.ssh.connection import ByteStream

POLL_MAX: Final = 64 << 20
"""Bytes of one poll; what goes beyond is left for the next one."""
DEAD_AFTER: Final = 90.0
"""Seconds without a byte, keepalives included, after which a stream counts as dead; both servers send one in 45."""
PATIENCE: Final = 2.0
"""Seconds to ask again for the file of a message that was just sent."""
_SETTLED: Final = 60.0  # seconds after which a file that is not there will not come any more
_POLL_LIMIT: Final = POLL_MAX + (8 << 20)  # more than POLL_MAX without one message in it is an attack
_POLL_SECONDS: Final = 60.0
_DOWNLOAD_SECONDS: Final = 60.0
_SLOWEST: Final = 64 << 10  # bytes a second: what comes slower is a trickle, and no link of today
_ANSWER_MAX: Final = 2 << 20  # a publish is answered with the message itself, JSON-escaped
_FILE_TEXT = "You received a file: "


class BusClient:
    """Talks to one bus server, with one kept connection for requests and one more for each open stream.

    Any method may be called from any thread. In the bridge one thread publishes and another one streams and polls; when
    two requests meet, the second takes a connection of its own for the time. Every method but `close`, `cut` and the
    attributes blocks for `timeout` seconds a step at most, and raises `BusError`, whose text never holds topic, token
    or payload.
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
            server: `http(s)://host[:port][/prefix]`, `unix:/path`, or any name if `dial` is given.
            token: An ntfy access token; precedes user and password.
            user: For basic authentication.
            password: For basic authentication.
            dial: Makes a fresh stream to the server for each connection; its errors come out as BusError.
            timeout: Seconds for connecting, and for each wait for bytes of an answer.
            dead_after: Seconds without a byte, keepalives included, after which a stream counts as dead.

        Raises:
            BusError: Server or token can't be used as written (kinds `request`, `auth`).
        """
        address = parse_address(server, dial, timeout)
        self._transport = Transport(address, token=token, user=user, password=password, timeout=timeout)
        self._dead_after = dead_after
        self._cutter = Cutter()
        self._session = self._transport.session(self._cutter)

    @property
    def where(self) -> str:
        """How errors name the server."""
        return self._transport.where

    @property
    def server_time(self) -> float | None:
        """The newest time of the server's clock (Date of an answer, time of an event); seconds since the epoch."""
        return self._transport.server_time

    def publish(self, topic: str, text: str) -> Published:
        """Publish a text. ntfy trims it, and makes a file of 4096 bytes or more; "" becomes "triggered".

        An error of kind `unreachable` leaves open whether the server has it: a retry needs an id of its own inside.
        """
        return self._publish("POST", topic, text.encode(), {"Content-Type": "text/plain"})

    def publish_file(self, topic: str, data: bytes | Upload, filename: str, text: str) -> Published:
        r"""Publish a file with a text beside it.

        The text travels in a header: ASCII, no line breaks, and ntfy makes a line break of the two characters `\n`.

        Raises:
            ValueError: The text or the name does not fit into a header.
            BusError: As always; kind `size` if the file is too large for the server.
        """
        for value in (filename, text):
            if not (value.isascii() and value.isprintable()):
                raise ValueError("a file's name and text must be printable ASCII")
        headers = {"Content-Type": "application/octet-stream", "Filename": filename, "X-Message": text}
        return self._publish("PUT", topic, data, headers)

    def publish_envelope(self, topic: str, envelope: wire.Envelope, payload: Upload | None = None) -> Published:
        """Publish an envelope, its payload inside or as an attachment as docs/protocol.md says.

        With `payload` that is the attachment, and the envelope has no body.

        A payload goes as an attachment, too, where the encoded envelope would be longer than a message of ntfy may be.
        """
        if payload is not None:
            return self.publish_file(
                topic, payload, wire.attachment_name(envelope.mime), _for_header(wire.encode(envelope))
            )
        text = wire.encode(envelope)
        size = len(envelope.body)
        # Without a payload there is nothing to attach, and ntfy never gives an empty file back (429).
        if not size or (len(text) <= MESSAGE_LIMIT and not wire.wants_attachment(envelope.mime, size)):
            return self.publish(topic, text)
        head = wire.Envelope(envelope.kind, envelope.url, envelope.mime, b"", envelope.id)
        return self.publish_file(
            topic, envelope.body, wire.attachment_name(envelope.mime), _for_header(wire.encode(head))
        )

    def poll(self, topic: str, since: str | None) -> Backlog:
        """Return the messages after the message `since`, or all with None, in the order of the bus.

        A server that does not know the id returns everything (docs/ntfy.md, trap 1): drop what is known.
        """
        if since is not None and not valid_id(since):
            raise ValueError("since is not a message id")
        params = {"poll": "1", "since": since or "all"}
        response = self._transport.send(self._session, "GET", self._path(topic, "/json"), params=params)
        return self._read_backlog(response)

    def stream(self, topic: str) -> Stream:
        """Return a live stream of the topic, to be opened with `with`; it brings what is published from then on."""
        return Stream(self._transport, self._path(topic, "/json"), self._dead_after)

    def download(
        self, message_id: str, limit: int = CONTENT_LIMIT, size: int | None = None, *, patience: float = PATIENCE
    ) -> bytes:
        """Return the file that came with a message, from our own server whatever URL the message holds.

        Args:
            message_id: The message's id.
            limit: Bytes that are accepted.
            size: The size that the message told, to be checked, or None.
            patience: Seconds to ask again for a file that is not there: ntfy tells its streams of a message before it
                knows of the file itself (docs/ntfy.md, trap 1).

        Raises:
            BusError: Also when the file is larger than `limit` (kind `size`), not there (`gone`), or cut short
                (`unreachable`).
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
        """Do what `download` does, a piece at a time; what was written before an error is of no use."""
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
        """Return how long to ask for the file of a message sent then (seconds since the epoch, the server's clock)."""
        return PATIENCE if self.server_time is None or self.server_time - sent < _SETTLED else 0.0

    def _find_file(self, message_id: str) -> requests.Response | None:
        try:
            return self._transport.send(self._session, "GET", f"/file/{message_id}")
        except BusError as error:
            if error.kind != "request":
                raise
            return None

    def full_text(self, message: Message) -> str:
        """Return the text as it was published: the message's, or its file's if the server made a file of a long text.

        ntfy does so from 4096 bytes on, which an envelope of the Go shims with 3072 bytes of payload exceeds.

        Raises:
            BusError: The file can't be had.
        """
        attachment = message.attachment
        # The extension is what ntfy took the text for: .txt, .json, …
        if attachment is None or not (
            message.text.startswith(_FILE_TEXT) and attachment.name.startswith("attachment.")
        ):
            return message.text
        patience = self.patience(message.time)
        return self.download(message.id, wire.MAX_TEXT, attachment.size, patience=patience).decode("utf-8", "replace")

    def health(self) -> bool:
        """Return whether the server says that it is well; False if it says or answers anything else."""
        try:
            response = self._transport.send(self._session, "GET", "/v1/health")
            answer = parse_object(b"".join(self._transport.chunks(response, 1 << 16, self._transport.timeout)))
        except (BusError, BadLineError):
            return False
        return answer.get("healthy") is True

    def cut(self) -> None:
        """End every request that is under way, and drop the kept connection: the network changed or the laptop woke.

        Those requests raise a retryable BusError; the next ones connect anew. Streams are not concerned. Any thread.
        """
        self._cutter.cut()
        self._session.close()

    def close(self) -> None:
        """As `cut`; the client may be used again. Streams are closed by who opened them."""
        self.cut()

    def _path(self, topic: str, rest: str = "") -> str:
        if not valid_topic(topic):
            raise BusError("the topic is not one that ntfy takes: 1 to 64 letters, digits, - and _", "request")
        return f"/{topic}{rest}"

    def _publish(self, method: str, topic: str, data: bytes | Upload, headers: dict[str, str]) -> Published:
        # A file object is sent piece by piece, each with a timeout of its own; bytes would have to go in one timeout.
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
        # Where only the end of the connection ends the answer, there may have been more.
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
    r"""Return the same JSON without the two characters `\n` in a row, which ntfy would make a line break."""
    return re.sub(r"\\[n\\]", lambda match: {"\\n": "\\u000a", "\\\\": "\\u005c"}[match.group()], json_text)
