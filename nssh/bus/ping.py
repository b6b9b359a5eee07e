"""Ping a topic, and wait for the pong of a session."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nssh.base.errors import BusError
from nssh.bus.client import BusClient
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from nssh.bus.live_stream import LiveStream
    from nssh.config.settings import Config


def ping(config: Config, topic: str, timeout: float) -> float | None:
    """Send a ping to a topic of the configured ntfy server; return the seconds until its pong, None if none came.

    It blocks for `timeout` seconds at most. The stream is opened before the ping is sent, so that the pong can't be
    missed (docs/ntfy.md, traps 1 to 3).

    Raises:
        BusError: The server can't be reached, or refuses the request.
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
        client.close()

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


def _exchange(client: BusClient, stream: LiveStream, topic: str) -> float | None:
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
