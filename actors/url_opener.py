"""`open`: the browser of the machine the user sits at. At most once, also across a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors._base import BaseActor
from actors.messages import Done, Log, Problem, Update
from nssh import held
from nssh.errors import ToolError
from nssh.local import browser
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.incarnation import Context
    from actors.messages import Work
    from nssh.bus.ledger import Ledger


class UrlOpener(BaseActor):
    """Opens URLs one after another; those that come too late are held for the user to decide."""

    def __init__(self, context: Context, ledger: Ledger, held_path: str, command: Sequence[str] | None) -> None:
        super().__init__(context)
        self._ledger = ledger
        self._held_path = held_path
        self._command = command

    def handle(self, message: Work) -> None:
        """Open a URL, or hold it."""
        envelope = message.envelope
        fields: dict[str, object] = {"kind": envelope.kind, "id": message.id, "url": wire.redact(envelope.url)}
        if message.held:
            held.add(self._held_path, held.HeldUrl(envelope.url, message.time))
            self.send("session_registry", Update({"held": len(held.read(self._held_path))}))
            self.send("log_writer", Log("open-held", fields))
        # Claimed before it is done: a second tab is worse than none after a crash between the two.
        elif self._ledger.claim(message.id):
            try:
                browser.open_url(envelope.url, command=self._command)
                self.send("session_registry", Problem("browser", ""))
            except ToolError as error:
                self.send("log_writer", Log("open-failed", {**fields, "err": str(error)}))
                self.send("session_registry", Problem("browser", f"a URL was not opened: {error}"))
        self.send("subscriber", Done(message.id))
