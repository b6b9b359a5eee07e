"""Turn the messages of the bus into deliveries: decode them, log them, judge their age, and queue them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.messages import Log
from nssh.base.errors import BusError
from nssh.bus.deliveries import Delivery
from nssh.bus.losses import file_text
from nssh.bus.replay_policy import Item, Verdict, judge
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.bus.client import BusClient
    from nssh.bus.deliveries import Deliveries
    from nssh.bus.messages import Message

# Seconds that one text may take which the server has turned into a file.
_FETCH: Final = 60.0

# Characters. nssh's ids have 16 and a UUID has 36; a message with a longer id is refused.
_LONGEST_ID: Final = 256

WORKERS: Final = {
    wire.KIND_OPEN: "url_opener",
    wire.KIND_CLIP_WRITE: "clipboard",
    wire.KIND_CLIP_READ_REQUEST: "clipboard",
    wire.KIND_PING: "liveness_responder",
}
"""The worker for each kind of message, by the id of its actor."""

# Kinds that this session itself publishes: they come back around the bus, and are neither logged nor delivered.
_SILENT: Final = frozenset({wire.KIND_PONG, wire.KIND_CLIP_READ_RESPONSE})


class TextUnavailableError(Exception):
    """The server keeps a message's text in a file, and the file can't be fetched at the moment."""

    def __init__(self, message_id: str, error: BusError) -> None:
        super().__init__(message_id)
        self.message_id = message_id
        self.error = error


class Arrivals:
    """Decodes arriving messages and queues them for the workers. Runs on the subscriber's thread only."""

    def __init__(
        self,
        client: BusClient,
        deliveries: Deliveries,
        send: Callable[[str, object], object],
        busy: Callable[[float], object],
        lost: Callable[[str], object],
    ) -> None:
        """Keep the parts.

        Args:
            client: Fetches texts that the server keeps in files.
            deliveries: The messages in flight.
            send: The subscriber's `send`.
            busy: The subscriber's `busy`.
            lost: Tells the user, in one line, what is lost.
        """
        self._client = client
        self._deliveries = deliveries
        self._send = send
        self._busy = busy
        self._lost = lost

    def take(self, messages: Sequence[Message], *, replayed: bool, topic: str = "") -> None:
        """Put messages into the workers' queues, in the order of the bus.

        Args:
            messages: The messages.
            replayed: Whether a poll returned them: then their age is judged.
            topic: The former topic that they came on; empty for the present one.

        Raises:
            TextUnavailableError: The text of one can't be fetched at the moment. That message and those after it are
                not queued, so that none overtakes it.
        """
        batch: list[Delivery] = []
        for message in messages:
            try:
                if self._deliveries.arrive(message.id) and (delivery := self._recognize(message, topic)) is not None:
                    batch.append(delivery)
            except BusError as error:
                raise TextUnavailableError(message.id, error) from error
        verdicts = [Verdict.APPLY] * len(batch)
        if replayed:
            verdicts = judge([Item(one.envelope.kind, one.time) for one in batch], self._client.server_time)
        for delivery, verdict in zip(batch, verdicts, strict=True):
            if verdict in {Verdict.EXPIRED, Verdict.SUPERSEDED}:
                self._deliveries.discard(delivery.id)
                self.tell_end(delivery, verdict.value)
            elif not self._deliveries.queue(delivery._replace(held=verdict is Verdict.HELD)):
                self.tell_end(delivery, "msg-failed")

    def _recognize(self, message: Message, topic: str) -> Delivery | None:
        """Return the delivery for a message; None if no worker acts on it. Raises what `_read` raises."""
        envelope = self._read(message)
        to = None
        # With a payload inside, the file is the envelope itself: its text was too long for a message.
        file = message.attachment if envelope is None or not envelope.body else None
        if envelope is not None and envelope.kind not in _SILENT:
            size = file.size if file is not None else len(envelope.body)
            fields: dict[str, object] = {"kind": envelope.kind, "mime": envelope.mime, "id": message.id, "size": size}
            if envelope.url:
                fields["url"] = wire.redact(envelope.url)
            self._send("log_writer", Log("msg-recv", fields))
            to = WORKERS.get(envelope.kind)
        if envelope is None or to is None:
            self._deliveries.discard(message.id)
            return None
        key = _key(message, envelope)
        delivery = Delivery(message.id, to, key, envelope, file, message.time, topic=topic)
        return delivery if self._deliveries.recognize(delivery) else None

    def _read(self, message: Message) -> wire.Envelope | None:
        """Return a message's envelope; None if the message has none, or its text is lost.

        Raises:
            BusError: The server keeps the text in a file, which can't be fetched at the moment.
        """
        if message.attachment is not None:
            self._busy(_FETCH)
        try:
            envelope = wire.decode(self._client.full_text(message))
            if len(envelope.id) <= _LONGEST_ID:
                return envelope
        except BusError as error:
            if error.retryable and self._deliveries.fetch_failed(message.id):
                raise
            if error.kind == "gone":
                self._send("log_writer", Log("file-lost", {"id": message.id}))
                self._lost(file_text(message.time))
                return None
        except wire.EnvelopeError:
            pass
        self._send("log_writer", Log("msg-unknown", {"size": len(message.text)}))
        return None

    def tell_end(self, delivery: Delivery, event: str) -> None:
        """Log, as `event`, why no worker acts on a message."""
        self._send("log_writer", Log(event, {"kind": delivery.envelope.kind, "id": delivery.id}))


def _key(message: Message, envelope: wire.Envelope) -> str:
    """Return the key that a message is claimed under.

    A shim that got no answer publishes its message again, with the same id in the envelope: so that id is the key.
    """
    if envelope.id and envelope.kind in {wire.KIND_OPEN, wire.KIND_CLIP_WRITE}:
        return f"{envelope.kind}:{envelope.id}"
    return message.id
