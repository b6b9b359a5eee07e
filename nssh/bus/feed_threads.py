"""The feed's threads: one reads the stream, one polls. Neither waits for the other, or for a slow receiver."""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, Final

from nssh.base.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.bus.client import BusClient
    from nssh.bus.live_stream import LiveStream
    from nssh.bus.messages import Backlog, Event, Message

_QUEUE_MESSAGES: Final = 2000
_QUEUE_CHARACTERS: Final = 8 << 20


class StreamReader:
    """Reads one stream to its end on a thread of its own, and notifies `changed` of every change.

    Read the attributes only while holding `changed`. `hear` is called with every event.
    """

    def __init__(self, stream: LiveStream, changed: threading.Condition, hear: Callable[[], object]) -> None:
        self._stream = stream
        self._changed = changed
        self._hear = hear
        self._messages: collections.deque[Message] = collections.deque()
        self._characters = 0
        self.opened = False
        """Whether the open event has come."""
        self.overflowed = False
        """Whether messages were dropped because the queue was full. The owner polls for them, and resets this."""
        self.ended = False
        self.error: Exception | None = None
        """Why the stream ended: a BusError, None if the server ended it. Any other exception is a defect."""

    def start(self) -> None:
        """Start the thread. It ends with the stream, or soon after `close`."""
        threading.Thread(target=self._run, name="nssh-bus-reader", daemon=True).start()

    def close(self) -> None:
        """End the stream. Any thread, at any time."""
        self._stream.close()

    @property
    def pending(self) -> bool:
        """Whether `take` would return something."""
        return bool(self._messages)

    def take(self) -> list[Message]:
        """Return the messages that arrived since the last call."""
        with self._changed:
            messages = list(self._messages)
            self._messages.clear()
            self._characters = 0
            return messages

    def _run(self) -> None:
        error: Exception | None = None
        try:
            with self._stream as stream:
                for event in stream:
                    self._put(event)
        except BusError as failure:
            error = failure
        except Exception as defect:  # noqa: BLE001  (raised again on the owner's thread, where it is reported)
            error = defect
        with self._changed:
            self.error = error
            self.ended = True
            self._changed.notify_all()

    def _put(self, event: Event) -> None:
        with self._changed:
            self._hear()
            if event.kind == "open":
                self.opened = True
            elif event.message is not None:
                self._queue(event.message)
            else:
                return
            self._changed.notify_all()

    def _queue(self, message: Message) -> None:
        if len(self._messages) >= _QUEUE_MESSAGES or self._characters + len(message.text) > _QUEUE_CHARACTERS:
            self.overflowed = True
        else:
            self._messages.append(message)
            self._characters += len(message.text)


class Poll:
    """One poll on a thread of its own, which notifies `changed` when the poll is `done`."""

    def __init__(self, client: BusClient, topic: str, since: str | None, changed: threading.Condition) -> None:
        self._client = client
        self._topic = topic
        self._since = since
        self._changed = changed
        self.done = False
        self.backlog: Backlog | None = None
        self.error: Exception | None = None
        """A BusError, another exception (a defect), or None if there is a backlog."""

    def start(self) -> None:
        """Start the thread. It ends within the client's timeouts, whether or not the owner still waits."""
        threading.Thread(target=self._run, name="nssh-bus-poll", daemon=True).start()

    def _run(self) -> None:
        try:
            self.backlog = self._client.poll(self._topic, self._since)
        except BusError as failure:
            self.error = failure
        except Exception as defect:  # noqa: BLE001  (raised again on the owner's thread, where it is reported)
            self.error = defect
        with self._changed:
            self.done = True
            self._changed.notify_all()
