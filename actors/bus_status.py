"""Report the state of the bus, and lost messages, to the event log, the session's record and the publisher."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from actors.messages import BusUp, Log, Problem, UpdateRecord
from nssh.base.durations import format_gap
from nssh.bus.feed import Down, Up
from nssh.bus.losses import Lost, timestamp
from nssh.state.session_records import LOST_TOLD

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.bus.feed import LastHeard
    from nssh.bus.ledger import Ledger


class BusStatus:
    """Knows whether the bus is up, and reports changes. Runs on the subscriber's thread only."""

    def __init__(self, send: Callable[[str, object], object], ledger: Ledger, heard: LastHeard) -> None:
        """Keep the parts.

        Args:
            send: The subscriber's `send`.
            ledger: The topic's. Used only while this session holds the lease.
            heard: The session's, as the feed keeps it.
        """
        self._send = send
        self._ledger = ledger
        self._heard = heard
        self._leads = False
        self._bus = ""
        self._since = _now()

    @property
    def up(self) -> bool:
        """Whether the feed is live and has caught up."""
        return self._bus == "up"

    def lead(self, *, leads: bool) -> None:
        """Note whether this session holds the lease, and so follows the bus."""
        self._leads = leads
        self._bus, self._since = "down" if leads else "", _now()
        self.report()

    def ended(self) -> None:
        """Note that the subscriber has ended its feed."""
        self._change("down" if self._leads else "")

    def tell(self, news: Up | Down | Lost) -> None:
        """Report news of the feed."""
        match news:
            case Lost():
                span = {"reason": news.reason.value, "since": timestamp(news.since), "until": timestamp(news.until)}
                self._send("log_writer", Log("messages-lost", dict(span)))
                self.lost(news.text)
            case Down():
                self._send("log_writer", Log("subscribe-down", {"err": str(news.error)}))
                self._change("down")
                self._send("session_registry", Problem("bus", str(news.error)))
            case Up():
                fields: dict[str, object] = {"reconnect": news.reconnect, "since": news.since or ""}
                fields["replayed"] = news.replayed
                if news.reconnect:
                    fields["gap"] = format_gap(news.gap)
                self._send("log_writer", Log("subscribe-up", fields))
                self._change("up")
                self._send("session_registry", Problem("bus", ""))
                self._send("publisher", BusUp())  # it retries at once instead of waiting out its backoff

    def lost(self, text: str) -> None:
        """Have `nssh status` show `text` as the newest loss, for a day; the topic's ledger keeps it."""
        if self._leads:
            self._ledger.set_lost(int(time.time()), text)
            self.report()

    def report(self) -> None:
        """Write the state of the bus, and the newest loss, to the session's record."""
        fields: dict[str, object] = {"bus": self._bus, "bus_since": self._since, "bus_heard": self._heard.at}
        if self._leads and (lost := self._ledger.lost) is not None and time.time() - lost[0] < LOST_TOLD:
            fields |= {"lost": lost[1], "lost_at": timestamp(lost[0])}
        self._send("session_registry", UpdateRecord(fields))

    def _change(self, bus: str) -> None:
        if bus != self._bus:
            self._bus, self._since = bus, _now()
            self.report()


def _now() -> str:
    return timestamp(int(time.time()))
