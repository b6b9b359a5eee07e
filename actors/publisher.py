"""Everything outgoing: in order, retried with backoff, for as long as somebody waits for it."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from actors._base import BaseActor
from actors.messages import Log, Publish, Retry
from nssh.bus.backoff import Backoff
from nssh.errors import BusError
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from actors.incarnation import Context
    from actors.timers import Timer
    from nssh.bus.client import BusClient

# Seconds that one attempt may take beyond the client's own deadlines, which end each step of it.
_ATTEMPT = 60.0


class Publisher(BaseActor):
    """Sends one envelope after another; one that fails for the moment holds up those behind it."""

    def __init__(self, context: Context, client: BusClient, topic: str) -> None:
        super().__init__(context)
        self._client = client
        self._topic = topic
        self._queue: deque[Publish] = deque()
        self._backoff = Backoff()
        self._waiting: Timer | None = None

    def handle(self, message: Publish | Retry) -> None:
        """Take an envelope, or try again."""
        if isinstance(message, Publish):
            self._queue.append(message)
        elif self._waiting is not None:
            self._waiting = None
        while self._queue and self._waiting is None:
            self._send_first()

    def stopped(self) -> None:
        """End the connection."""
        self._client.close()

    def _send_first(self) -> None:
        publish = self._queue[0]
        envelope = publish.envelope
        if publish.expires is not None and time.monotonic() > publish.expires:
            self._queue.popleft()
            return
        self.busy(_ATTEMPT)
        fields: dict[str, object] = {"kind": envelope.kind, "mime": envelope.mime, "id": envelope.id}
        try:
            self._client.publish_envelope(self._topic, envelope)
        except BusError as error:
            if error.retryable:
                self._waiting = self.after(self._backoff.delay(error), Retry())
                return
            self._queue.popleft()
            self.send("log_writer", Log("publish-failed", {**fields, "err": str(error)}))
            self._explain(envelope, str(error))
            return
        self._queue.popleft()
        self._backoff.reset()
        self.send("log_writer", Log("msg-send", {**fields, "size": len(envelope.body)}))

    def _explain(self, envelope: wire.Envelope, reason: str) -> None:
        """Who waits for an answer that the server does not take gets the reason instead."""
        if envelope.kind == wire.KIND_CLIP_READ_RESPONSE and not envelope.body.startswith(b"ERROR: "):
            body = f"ERROR: {reason}".encode()
            self._queue.append(
                Publish(
                    wire.Envelope(envelope.kind, mime="text/plain", body=body, id=envelope.id), time.monotonic() + 10
                )
            )
