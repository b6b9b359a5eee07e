"""What arrives from the bus becomes deliveries: read, told to the log, judged by its age, and queued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.messages import Log
from nssh.base.errors import BusError
from nssh.bus.deliveries import Delivery
from nssh.bus.losses import file_text
from nssh.bus.replay import Item, Verdict, judge
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.bus.client import BusClient
    from nssh.bus.deliveries import Deliveries
    from nssh.bus.messages import Message

# Seconds that fetching a text may take that the server made a file of.
_FETCH: Final = 60.0

# Characters; who makes up longer ids than ours of 16 and UUIDs is up to something.
_LONGEST_ID: Final = 256

WORKERS: Final = {
    wire.KIND_OPEN: "url_opener",
    wire.KIND_CLIP_WRITE: "clipboard",
    wire.KIND_CLIP_READ_REQUEST: "clipboard",
    wire.KIND_PING: "liveness_responder",
}
"""Who acts on which kind of message."""

# Our own answers, come back around the bus.
_SILENT: Final = frozenset({wire.KIND_PONG, wire.KIND_CLIP_READ_RESPONSE})


class UnreadError(Exception):
    """A message can't be read at the moment: the server keeps its text in a file, and does not give it."""

    def __init__(self, message_id: str, error: BusError) -> None:
        super().__init__(message_id)
        self.message_id = message_id
        self.error = error


class Arrivals:
    """Owned by the subscriber; on its thread."""

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
            client: For texts that the server keeps in a file.
            deliveries: What is in flight.
            send: The owner's.
            busy: The owner's.
            lost: Tells the user what can't be had any more.
        """
        self._client = client
        self._deliveries = deliveries
        self._send = send
        self._busy = busy
        self._lost = lost

    def take(self, messages: Sequence[Message], *, replayed: bool) -> None:
        """Put messages of the bus, in its order, into the workers' queues; `replayed` if they waited on the server.

        Raises:
            UnreadError: One can't be read at the moment. What follows it must not overtake it, and is not taken.
        """
        batch: list[Delivery] = []
        for message in messages:
            try:
                if self._deliveries.arrive(message.id) and (delivery := self._recognize(message)) is not None:
                    batch.append(delivery)
            except BusError as error:
                raise UnreadError(message.id, error) from error
        verdicts = [Verdict.APPLY] * len(batch)
        if replayed:
            verdicts = judge([Item(one.envelope.kind, one.time) for one in batch], self._client.server_time)
        for delivery, verdict in zip(batch, verdicts, strict=True):
            if verdict in {Verdict.EXPIRED, Verdict.SUPERSEDED}:
                self._deliveries.discard(delivery.id)
                self.tell_end(delivery, verdict.value)
            elif not self._deliveries.queue(delivery._replace(held=verdict is Verdict.HELD)):
                self.tell_end(delivery, "msg-failed")

    def _recognize(self, message: Message) -> Delivery | None:
        """Return what is to be delivered, None if there is nothing to deliver. Raises as `_read`."""
        envelope = self._read(message)
        to = None
        if envelope is not None and envelope.kind not in _SILENT:
            size = message.attachment.size if message.attachment is not None else len(envelope.body)
            fields: dict[str, object] = {"kind": envelope.kind, "mime": envelope.mime, "id": message.id, "size": size}
            if envelope.url:
                fields["url"] = wire.redact(envelope.url)
            self._send("log_writer", Log("msg-recv", fields))
            to = WORKERS.get(envelope.kind)
        if envelope is None or to is None:
            self._deliveries.discard(message.id)
            return None
        key = _key(message, envelope)
        delivery = Delivery(message.id, to, key, envelope, message.attachment, message.time)
        return delivery if self._deliveries.recognize(delivery) else None

    def _read(self, message: Message) -> wire.Envelope | None:
        """Return the envelope of a message, None if it is none.

        Raises:
            BusError: The server has its text in a file, which can't be had at the moment.
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
        """Tell the log why a message is not acted on."""
        self._send("log_writer", Log(event, {"kind": delivery.envelope.kind, "id": delivery.id}))


def _key(message: Message, envelope: wire.Envelope) -> str:
    """What a message is claimed by: a shim that got no answer publishes again, under the same id of its own."""
    if envelope.id and envelope.kind in {wire.KIND_OPEN, wire.KIND_CLIP_WRITE}:
        return f"{envelope.kind}:{envelope.id}"
    return message.id
