"""The feed's threads: one reads the stream, one polls, so that neither they nor a slow receiver hold each other up."""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, Final

from nssh.base.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.bus.client import BusClient
    from nssh.bus.messages import Backlog, Event, Message
    from nssh.bus.stream import LiveStream

_QUEUE_MESSAGES: Final = 2000
_QUEUE_CHARACTERS: Final = 8 << 20


class Reader:
    """Reads one stream to its end on a thread of its own; its owner waits on `changed` and looks.

    `changed` guards the attributes: read them while holding it.
    """

    def __init__(self, stream: LiveStream, changed: threading.Condition, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._changed = changed
        self._clock = clock
        self._messages: collections.deque[Message] = collections.deque()
        self._characters = 0
        self.opened = False
        """The open event came."""
        self.overflowed = False
        """Messages were left out because the owner took none for long; a poll brings them. The owner resets it."""
        self.ended = False
        self.error: Exception | None = None
        """Why it ended: BusError, None if the server just ended the stream, anything else is a defect."""
        self.heard = clock()
        """When the last sign of life came."""

    def start(self) -> None:
        """Start the thread; it ends when the stream does, or soon after `close`."""
        threading.Thread(target=self._run, name="nssh-bus-reader", daemon=True).start()

    def close(self) -> None:
        """End the stream; any thread, any time."""
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
            self.heard = self._clock()
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
    """One poll on a thread of its own; its owner waits on `changed` for `done`."""

    def __init__(self, client: BusClient, topic: str, since: str | None, changed: threading.Condition) -> None:
        self._client = client
        self._topic = topic
        self._since = since
        self._changed = changed
        self.done = False
        self.backlog: Backlog | None = None
        self.error: Exception | None = None
        """BusError, or a defect; None if there is a backlog."""

    def start(self) -> None:
        """Start the thread; it ends within the client's timeouts, even if nobody waits for it any more."""
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
