"""Has the topics that a Replace has left behind followed until nothing can come there, and then forgets them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from actors.messages import CountHeld, Log
from nssh.bus.drain import Drain
from nssh.state import former_topics, held_urls, topics
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nssh.bus.client import BusClient
    from nssh.bus.deliveries import Deliveries
    from nssh.bus.drain import Drained
    from nssh.bus.ledger import Ledger
    from nssh.bus.losses import Lost
    from nssh.bus.messages import Message
    from nssh.launch.session_info import SessionInfo


class FormerTopics:
    """Owns the drain of the former topics. Runs on the subscriber's thread only."""

    def __init__(
        self,
        client: BusClient,
        session: SessionInfo,
        ledger: Ledger,
        deliveries: Deliveries,
        send: Callable[[str, object], object],
    ) -> None:
        """Keep the parts.

        Args:
            client: The connection to the bus, shared with the feed.
            session: Names the present topic, and where its state is.
            ledger: The topic's ledger.
            deliveries: The messages in flight.
            send: The subscriber's `send`.
        """
        self._client = client
        self._session = session
        self._ledger = ledger
        self._deliveries = deliveries
        self._send = send
        self._drain: Drain | None = None
        self._drained: list[str] = []
        self._is_unnamed = False

    def drain(
        self,
        deliver: Callable[[str, list[Message]], object],
        notify: Callable[[Drained | Lost], object],
        found: Callable[[list[Message]], object],
    ) -> Drain | None:
        """Return a drain of all former topics, whose `run` the subscriber has to call; None if there are none.

        The arguments are those of `Drain`. This session must hold the lease.
        """
        path = self._session.ledger
        self._drained = []
        try:
            former = former_topics.read(path, self._session.topic)
        except OSError as error:
            self._log_failure(error)
            return None
        for topic in former:
            if topic.ledger:
                self._adopt(topic.ledger)
        self._drain = None
        if former:
            self._drain = Drain(self._client, self._ledger, former, deliver=deliver, notify=notify, found=found)
        if self._is_unnamed:
            self.unnamed()
        return self._drain

    def stop(self) -> None:
        """End the drain; another one takes up its work."""
        if self._drain is not None:
            self._drain.stop()
            self._drain = None

    def unnamed(self) -> None:
        """Note that the remote's session file names the present topic, so that none of the former ones is used anew."""
        self._is_unnamed = True
        if self._drain is not None:
            self._drain.unnamed()
            try:
                former_topics.mark_unnamed(self._session.ledger)
            except OSError as error:
                self._log_failure(error)

    def drained(self, topic: str) -> None:
        """Note that all messages of a topic have arrived; it is forgotten when they have taken effect."""
        self._drained.append(topic)

    def forget_drained(self) -> None:
        """Forget the drained topics whose messages have all taken effect."""
        for topic in self._drained[:]:
            if self._deliveries.has_any_of(topic):
                continue
            self._drained.remove(topic)
            try:
                former_topics.remove(self._session.ledger, topic)
            except OSError as error:
                self._log_failure(error)
            else:
                self._send("log_writer", Log("former-topic-drained", {}))

    def keep_found(self, messages: Sequence[Message]) -> None:
        """Keep the URLs that a topic of another program had, for `nssh status --held`; it has opened them, perhaps."""
        path = topics.beside(self._session.ledger, "held")
        urls = []
        for message in messages:
            with contextlib.suppress(wire.EnvelopeError):
                envelope = wire.decode(message.text)
                if envelope.kind == wire.KIND_OPEN:
                    urls.append(held_urls.HeldUrl(envelope.url, message.time, found=True))
        try:
            held_urls.add(path, *urls)
        except OSError as error:
            self._log_failure(error)
        self._send("log_writer", Log("topic-taken-over", {"found": len(messages), "urls": len(urls)}))
        self._send("url_opener", CountHeld())

    def _adopt(self, ledger: str) -> None:
        """Take over what the ledger of another topic knows, and remove it with its lease."""
        try:
            self._ledger.adopt(ledger)
            os.unlink(topics.beside(ledger, "lease"))
        except FileNotFoundError:
            pass  # taken over before
        except OSError as error:
            self._log_failure(error)

    def _log_failure(self, error: OSError) -> None:
        self._send("log_writer", Log("former-topics-failed", {"err": error.strerror or type(error).__name__}))
