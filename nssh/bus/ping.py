"""Whether anybody on a topic answers: one ping, and the wait for its pong."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import BusError
from nssh.bus.client import BusClient
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from nssh.bus.stream import Stream
    from nssh.config.settings import Config


def ping(config: Config, topic: str, timeout: float) -> float | None:
    """Send a ping to a topic of the configured ntfy server; return the seconds until its pong, None if none came.

    The stream is open before the ping is sent, so that its pong can't fall into the seam (docs/ntfy.md, traps 1 to 3).

    Raises:
        BusError: The server can't be reached within `timeout` seconds, or refuses us.
    """
    client = BusClient(
        config.server,
        token=config.token or "",
        user=config.user or "",
        password=config.password or "",
        timeout=timeout,
        dead_after=timeout,
    )
    stream = client.stream(topic)
    deadline = time.monotonic() + timeout

    def end() -> None:
        stream.close()
        client.cut()

    over = threading.Timer(timeout, end)
    over.daemon = True
    over.start()
    try:
        return _exchange(client, stream, topic)
    except BusError:
        if time.monotonic() < deadline:
            raise
        return None
    finally:
        over.cancel()
        client.close()


def _exchange(client: BusClient, stream: Stream, topic: str) -> float | None:
    own, sent = wire.new_id(), 0.0
    with stream:
        for event in stream:
            if event.kind == "open":
                sent = time.monotonic()
                client.publish_envelope(topic, wire.Envelope(wire.KIND_PING, id=own))
            elif event.message is not None and sent:
                try:
                    envelope = wire.decode(event.message.text)
                except wire.EnvelopeError:
                    continue
                if envelope.kind == wire.KIND_PONG and envelope.id == own:
                    return time.monotonic() - sent
    return None
