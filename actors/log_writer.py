"""The one owner of the session's event log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from actors.supervision import BaseActor
from nssh.log import event_log
from nssh.state import session_records

if TYPE_CHECKING:
    from actors.messages import Log
    from actors.supervision import Context

# Characters of one field; a trace needs most.
_LONGEST = 3000


class LogWriter(BaseActor):
    """Writes events in the order in which they arrive, and removes old logs when it starts."""

    def __init__(self, context: Context, path: str, keep: float) -> None:
        super().__init__(context)
        self._log = event_log.EventLog(path)
        self._keep = keep

    def started(self) -> None:
        """Remove logs older than the configured time; those of live sessions stay."""
        try:
            in_use = {self._log.path, *(record.log for record in session_records.live())}
            event_log.prune(os.path.dirname(self._log.path), self._keep, in_use)
        except OSError as error:
            # A state directory that can't be changed: old logs stay, and the session goes on.
            self._log.write("log-prune-failed", {"err": error.strerror or type(error).__name__})

    def handle(self, message: Log) -> None:
        """Write one event; what a remote made long is cut."""
        fields = {key: value[:_LONGEST] if isinstance(value, str) else value for key, value in message.fields.items()}
        self._log.write(message.event, fields)
