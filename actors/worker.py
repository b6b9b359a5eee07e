"""The base of those who act on messages of the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import Done
from actors.supervision import BaseActor

if TYPE_CHECKING:
    from actors.supervision import Context
    from nssh.bus.deliveries import Delivery
    from nssh.bus.ledger import Ledger


class Worker(BaseActor):
    """Acts on one `Delivery` after another, and says when each took effect."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context)
        self.ledger = ledger

    def is_repeated(self, delivery: Delivery) -> bool:
        """Whether that is done already; then the subscriber is told once more.

        The same delivery may come a second time: parked in the mailbox when a life before this one crashed, and handed
        out again by the subscriber; or by a subscriber that was itself restarted.
        """
        if not self.ledger.seen(delivery.key):
            return False
        self.finish(delivery)
        return True

    def finish(self, delivery: Delivery) -> None:
        """It took effect, or never will."""
        # Here, not by the subscriber: it may be down, and at the session's end it stops first.
        self.ledger.claim(delivery.key, delivery.id)
        self.send("subscriber", Done(delivery.id))
