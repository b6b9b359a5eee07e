"""Subscribes to the doctor's own topic: collects what the shims publish, and answers their clipboard reads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import BusError
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.bus.client import BusClient
    from nssh.bus.messages import Message


class Heard(NamedTuple):
    """An envelope that arrived."""

    envelope: wire.Envelope
    message: Message
    at: float
    """When it arrived, by `time.monotonic`."""


class TopicListener:
    """A subscription to one topic, read by a thread of its own. Opens no URL and does not use the laptop's clipboard.

    Attributes:
        content: The answers to clipboard reads, by MIME type.
    """

    def __init__(self, client: BusClient, topic: str) -> None:
        """Start the thread, which subscribes; see `wait_open`."""
        self._client = client
        self._topic = topic
        self._stream = client.stream(topic)
        self._changed = threading.Condition()
        self._opened = 0.0
        self._heard: list[Heard] = []
        self._error: BusError | None = None
        self._closed = False
        self.content: dict[str, bytes] = {}
        self._thread = threading.Thread(target=self._run, name="doctor-listener", daemon=True)
        self._thread.start()

    def wait_open(self, timeout: float) -> None:
        """Wait until the server has accepted the subscription, for `timeout` seconds at most.

        Raises:
            BusError: The server refused it, or did not answer in time.
        """
        self._wait(lambda: self._opened, timeout, "the server does not answer")

    def wait_for(self, wanted: Callable[[Heard], bool], timeout: float, what: str) -> Heard:
        """Wait for the first envelope for which `wanted` is true, and return it.

        Args:
            wanted: Called with each envelope, on any thread.
            timeout: Seconds.
            what: The name of what is waited for, for the error.

        Raises:
            BusError: The subscription ended, or the envelope did not come in time.
        """
        found: list[Heard] = []

        def look() -> bool:
            found[:] = [one for one in self._heard if wanted(one)]
            return bool(found)

        self._wait(look, timeout, f"{what} did not arrive within {timeout:g} s")
        return found[0]

    def close(self) -> None:
        """End the subscription and wait for the thread, for two seconds at most."""
        self._closed = True
        self._stream.close()
        self._client.close()
        self._thread.join(2.0)

    def _wait(self, condition: Callable[[], object], timeout: float, late: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._error is not None, timeout)
            if condition():
                return
            raise self._error or BusError(late, "unreachable")

    # The methods below run on the listener's thread.

    def _run(self) -> None:
        error = BusError("the server ended the subscription", "unreachable")
        try:
            with self._stream as stream:
                for event in stream:
                    if event.kind == "open":
                        self._note(opened=time.monotonic())
                    elif event.message is not None:
                        self._take(event.message)
        except BusError as broken:
            error = broken
        except OSError as broken:
            error = BusError(broken.strerror or "the connection broke", "unreachable")
        if not self._closed:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _note(self, *, opened: float = 0.0, heard: Heard | None = None) -> None:
        with self._changed:
            self._opened = self._opened or opened
            if heard is not None and len(self._heard) < 1000:
                self._heard.append(heard)
            self._changed.notify_all()

    def _take(self, message: Message) -> None:
        try:
            envelope = wire.decode(message.text)
        except wire.EnvelopeError:
            return
        self._note(heard=Heard(envelope, message, time.monotonic()))
        if envelope.kind == wire.KIND_CLIP_READ_REQUEST:
            body = self.content.get(envelope.mime or "text/plain", b"")
            answer = wire.Envelope(wire.KIND_CLIP_READ_RESPONSE, mime=envelope.mime, body=body, id=envelope.id)
            self._client.publish_envelope(self._topic, answer)
