"""Begin at now on a topic that another program has used: what it has handled must not take effect a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.bus.client import BusClient
    from nssh.bus.ledger import Ledger
    from nssh.bus.messages import Message


def begin_at_now(
    client: BusClient, topic: str, ledger: Ledger, moment: str, found: Callable[[list[Message]], object]
) -> None:
    """Claim all messages that a topic has now, once for each `moment`; those that come after it are ours. Blocks.

    No clock decides what came before: a message of our own marks the place. It is a pong that nobody waits for.

    Args:
        client: The server of the topic.
        topic: The topic.
        ledger: Holds the claims, and knows the moment again.
        moment: The name of the moment, such as that of the session that has ended.
        found: Called with the messages that were there and that we have not handled, before they are claimed.

    Raises:
        BusError: The server can't be reached; nothing is claimed.
    """
    key = f"takeover {moment}"
    if ledger.seen(key):
        return
    marker = client.publish_envelope(topic, wire.Envelope(wire.KIND_PONG, id=wire.new_id())).id
    before: dict[str, Message] = {}
    cursor = None
    while marker not in before:
        backlog = client.poll(topic, cursor)
        before |= {message.id: message for message in backlog}
        # A server that keeps nothing never returns the marker.
        if backlog.complete or not backlog:
            break
        cursor = backlog[-1].id
    ids = list(before)
    ids = ids[: ids.index(marker) + 1] if marker in before else ids
    found([before[one] for one in ids if one != marker and not ledger.seen(one)])
    ledger.claim(*ids, key)
