"""The base of those who act on messages of the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import Done
from actors.supervision._actor import BaseActor

if TYPE_CHECKING:
    from actors.messages import Work
    from actors.supervision._incarnation import Context
    from nssh.bus.ledger import Ledger


class Worker(BaseActor):
    """Acts on one `Work` after another, and says when each took effect.

    The same message may come a second time: parked in the mailbox when a life before this one crashed, and given again
    by the subscriber; or by a subscriber that was itself restarted.
    """

    def __init__(self, context: Context, ledger: Ledger) -> None:
        super().__init__(context)
        self.ledger = ledger
        self._finished = ""

    def is_repeated(self, work: Work) -> bool:
        """Whether this life has just done that; then the subscriber is told once more."""
        if work.id != self._finished:
            return False
        self.send("subscriber", Done(work.id))
        return True

    def finish(self, work: Work) -> None:
        """It took effect, or never will."""
        self._finished = work.id
        # Here, and not only by the subscriber: it may be down, and at the session's end it stops first.
        self.ledger.claim(work.key)
        self.ledger.claim(work.id)
        self.send("subscriber", Done(work.id))
