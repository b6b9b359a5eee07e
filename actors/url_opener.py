"""Acts on `open`: opens URLs in the laptop's browser, each at most once, also across a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import CountHeld, ExpectCallbacks, Log, Problem, ReportState, UpdateRecord
from actors.worker import Worker
from nssh.base.errors import ToolError
from nssh.bus.deliveries import Delivery
from nssh.local import browser_launcher
from nssh.local.callback_finder import find_callbacks
from nssh.local.flood import Flood
from nssh.state import held_urls
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.supervision import Context
    from nssh.bus.ledger import Ledger

# Seconds that a browser command may take to return.
_OPENING = 20.0
# Seconds between holding a URL and reporting the count, so that a backlog of held URLs is counted once.
_COUNT_AFTER = 0.1

# Seconds for the OAuth proxy to listen, with time for a restart of it.
_LISTEN = 5.0


class UrlOpener(Worker):
    """Opens URLs one after another. URLs that come too late, or too many, are held until the user opens them."""

    def __init__(self, context: Context, ledger: Ledger, held_path: str, command: Sequence[str] | None) -> None:
        super().__init__(context, ledger)
        self._held_path = held_path
        self._command = command
        self._counting = False
        self._flood = Flood()

    def started(self) -> None:
        """Report the count of held URLs: the incarnation before may have held one and crashed before it reported."""
        self._count()

    def handle(self, message: Delivery | ReportState | CountHeld) -> None:
        """Open or hold a URL, or report the count of held URLs."""
        match message:
            case ReportState():
                self._count()
            case CountHeld():
                self._counting = False
                self._count()
            case Delivery():
                self._act(message)

    def _act(self, work: Delivery) -> None:
        envelope = work.envelope
        fields: dict[str, object] = {"kind": envelope.kind, "id": work.id, "url": wire.redact(envelope.url)}
        if work.held or not self._flood.admits():
            self._hold(work, fields)
        # Claimed before it opens: after a crash between the two no tab opens, which is better than a second one. A
        # message that is claimed already ends here.
        elif self.ledger.claim(work.key):
            self.busy(_OPENING)
            try:
                self._await_callbacks(browser_launcher.check_url(envelope.url))
                browser_launcher.open_url(
                    envelope.url, command=self._command, on_late_failure=lambda error: self._failed(fields, str(error))
                )
            except ToolError as error:
                self._failed(fields, str(error))
            else:
                self.send("session_registry", Problem("browser", ""))
        self.finish(work)

    def _await_callbacks(self, url: str) -> None:
        """Have the OAuth proxy listen on a login's callback ports, before the browser opens the login's page."""
        callbacks = find_callbacks(url)
        if not callbacks:
            return
        try:
            self.ask("oauth_proxy", ExpectCallbacks(callbacks), _LISTEN)
        except Exception as error:  # noqa: BLE001 - also a crash of the proxy: the URL is opened all the same
            fields: dict[str, object] = {"port": callbacks[0].port, "err": type(error).__name__}
            self.send("log_writer", Log("callback-failed", fields))

    def _failed(self, fields: dict[str, object], reason: str) -> None:
        self.send("log_writer", Log("open-failed", {**fields, "err": reason}))
        self.send("session_registry", Problem("browser", f"a URL was not opened: {reason}"))

    def _hold(self, work: Delivery, fields: dict[str, object]) -> None:
        # Claimed after it is held: after a crash between the two the URL is held twice, which is better than lost.
        if self.ledger.seen(work.key):
            return
        try:
            kept = held_urls.add(self._held_path, held_urls.HeldUrl(work.envelope.url, work.time))
            reason = "too many are held already: nssh status --open-held"
        except OSError as error:
            kept, reason = False, error.strerror or type(error).__name__
        if not kept:
            self._failed(fields, f"it came late and can't be kept: {reason}")
            return
        self.ledger.claim(work.key)
        self.send("log_writer", Log("open-held", fields))
        if not self._counting:
            self._counting = True
            self.after(_COUNT_AFTER, CountHeld())

    def _count(self) -> None:
        try:
            count = sum(not url.found for url in held_urls.read(self._held_path))
        except OSError:
            return  # `nssh status --open-held` shows the error to the user
        self.send("session_registry", UpdateRecord({"held": count}))
