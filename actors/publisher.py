"""Publishes envelopes on the bus: in order, retried with backoff, until they expire."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from actors.messages import BusUp, Flush, Log, Publish, Retry
from actors.supervision import BaseActor
from nssh.base.errors import BusError
from nssh.bus import backoff
from nssh.bus.deliveries import ATTEMPTS
from nssh.bus.upload import Upload
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from actors.outbox import Outbox
    from actors.supervision import Context, Timer
    from nssh.bus.client import BusClient

# Seconds without progress after which an attempt counts as stuck: more than the client's deadlines for each step.
_ATTEMPT = 330.0
# Seconds between two `clip-read-pending` during an upload: less than any shim waits.
_TELL = 1.0
_EXPLAIN_WITHIN = 10.0


class Publisher(BaseActor):
    """Sends the envelopes of the outbox one after another. A failed one is retried first, so the order is kept."""

    def __init__(self, context: Context, client: BusClient, topic: str, outbox: Outbox) -> None:
        super().__init__(context)
        self._client = client
        self._topic = topic
        self._outbox = outbox
        self._attempts = backoff.attempts()
        self._waiting: Timer | None = None

    def started(self) -> None:
        """Send what the incarnation before left in the outbox."""
        self.post(Flush())

    def handle(self, message: Flush | Retry | BusUp) -> None:
        """Send everything in the outbox, unless a failed attempt waits for its retry."""
        if self._waiting is not None and not isinstance(message, Flush):
            self._waiting.cancel()  # a `BusUp` ends the backoff early
            self._waiting = None
        while self._waiting is None and (publish := self._outbox.first()) is not None:
            self._send(publish)

    def stopped(self) -> None:
        """Close the connection to the bus."""
        self._client.close()

    def _send(self, publish: Publish) -> None:
        self.busy(_ATTEMPT)
        envelope = publish.envelope
        if self._outbox.begin() > ATTEMPTS:
            self._give_up(publish, "it crashed the publisher")
            return
        try:
            self._publish(publish)
        except BusError as error:
            if error.retryable:
                self._outbox.failed()
                self._waiting = self.after(backoff.delay(self._attempts, error), Retry())
            else:
                self._give_up(publish, str(error))
            return
        self._outbox.done(publish)
        self._attempts.reset()
        self.send("log_writer", Log("msg-send", {**_fields(envelope), "size": _size(publish)}))

    def _publish(self, publish: Publish) -> None:
        topic = publish.topic or self._topic
        if publish.payload is None:
            self._client.publish_envelope(topic, publish.envelope)
            return
        last = time.monotonic()

        def moved() -> None:
            """Tell the waiting shim, over a second connection, that the upload moves; called for each piece."""
            nonlocal last
            now = time.monotonic()
            if now - last < _TELL:
                return
            last = now
            self.busy(_ATTEMPT)
            pending = wire.Envelope(wire.KIND_CLIP_READ_PENDING, id=publish.envelope.id)
            # A failure to tell is no failure of the upload: the next piece tells again.
            with contextlib.suppress(BusError):
                self._client.publish_envelope(topic, pending)

        upload = Upload(publish.payload.open(), publish.payload.size, moved)
        self._client.publish_envelope(topic, publish.envelope, upload)

    def _give_up(self, publish: Publish, reason: str) -> None:
        """Remove an envelope without sending it, and log why. A shim that waits for it gets the reason instead."""
        envelope = publish.envelope
        self._outbox.done(publish)
        self.send("log_writer", Log("publish-failed", {**_fields(envelope), "err": reason}))
        if envelope.kind == wire.KIND_CLIP_READ_RESPONSE and not envelope.body.startswith(b"ERROR: "):
            answer = wire.Envelope(envelope.kind, mime="text/plain", body=f"ERROR: {reason}".encode(), id=envelope.id)
            self._outbox.put(Publish(answer, time.monotonic() + _EXPLAIN_WITHIN, topic=publish.topic))


def _size(publish: Publish) -> int:
    return len(publish.envelope.body) if publish.payload is None else publish.payload.size


def _fields(envelope: wire.Envelope) -> dict[str, object]:
    return {"kind": envelope.kind, "mime": envelope.mime, "id": envelope.id}
