"""The base of the actors that act on messages of the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import Done
from actors.supervision import BaseActor

if TYPE_CHECKING:
    from actors.supervision import Context
    from nssh.bus.deliveries import Delivery
    from nssh.bus.ledger import Ledger


class Worker(BaseActor):
    """Acts on one `Delivery` after another, and tells the subscriber when each took effect."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context)
        self.ledger = ledger

    def is_repeated(self, delivery: Delivery) -> bool:
        """Return whether the delivery is claimed already; if so, tell the subscriber once more that it is done.

        A delivery can come twice. It may have waited in the mailbox while the worker was restarted, and been handed
        out again; or the subscriber was restarted, and hands it out again.
        """
        if not self.ledger.seen(delivery.key):
            return False
        self.finish(delivery)
        return True

    def finish(self, delivery: Delivery) -> None:
        """Claim a delivery that took effect, or never will, and tell the subscriber."""
        # The worker claims it, not the subscriber, which may be down, and which stops first at the session's end.
        self.ledger.claim(delivery.key, delivery.id)
        self.send("subscriber", Done(delivery.id))
