"""The session's event log: no other part of the process writes to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from actors.supervision import BaseActor
from nssh.log import event_log
from nssh.state import session_records

if TYPE_CHECKING:
    from actors.messages import Log
    from actors.supervision import Context

# Characters of one field; traces are the longest.
_LONGEST = 3000


class LogWriter(BaseActor):
    """Writes events to the log in the order of their arrival, and removes old logs when it starts."""

    def __init__(self, context: Context, path: str, keep: float) -> None:
        super().__init__(context)
        self._log = event_log.EventLog(path)
        self._keep = keep

    def started(self) -> None:
        """Remove logs that are older than `keep` seconds, except those of live sessions."""
        try:
            in_use = {self._log.path, *(record.log for record in session_records.live())}
            event_log.prune(os.path.dirname(self._log.path), self._keep, in_use)
        except OSError as error:
            # The state directory is read-only, say: the old logs stay, and the session goes on.
            self._log.write("log-prune-failed", {"err": error.strerror or type(error).__name__})

    def handle(self, message: Log) -> None:
        """Write one event; cut long strings, which may come from the remote."""
        fields = {key: value[:_LONGEST] if isinstance(value, str) else value for key, value in message.fields.items()}
        self._log.write(message.event, fields)
