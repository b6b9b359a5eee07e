"""Keeps the bridge process of a session running: starts it, tells it the session, restarts it, ends it.

Imported once ssh runs: the supervision that it needs costs nothing before the prompt.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from actors.supervision import Backoff, ChildSpec, ProcessSupervisor, Program
from nssh.base.clock import uptime
from nssh.state import session_records

if TYPE_CHECKING:
    from nssh.launch.session_info import SessionInfo
    from nssh.state.session_records import Record

INTENSITY: Final = 5
"""Restarts within `PERIOD` after which the launcher goes on without a bridge."""
PERIOD: Final = 60.0
"""Seconds."""
# At once after a first death, so that the next URL opens soon; then 0.5, 1, 2 and 4 s.
_BACKOFF: Final = Backoff(initial=0.5, maximum=8.0, jitter=0.0, quiet=PERIOD, at_once=1)
_SHUTDOWN: Final = 5.0
_HEALTH: Final = 90.0
"""Seconds without a heartbeat after which a bridge is killed and started anew; a well one writes two at the least."""
_STARTUP: Final = 60.0
"""Seconds until the first of them: a machine that has just started may take long to import a program."""


class Bridge:
    """The bridge of one session. For the launcher's only thread."""

    def __init__(self, session: SessionInfo) -> None:
        self.session = session
        # -P: a folder named actors in the current directory must not be imported in place of nssh's.
        program = Program((sys.executable, "-P", "-m", "actors"), input=True, errors=f"{session.log}.err", session=True)
        self._kept = ProcessSupervisor(
            ChildSpec("bridge", program, startup=_STARTUP, shutdown=_SHUTDOWN, health=_HEALTH),
            intensity=INTENSITY,
            period=PERIOD,
            backoff=_BACKOFF,
            on_start=self._introduce,
        )
        self._is_recorded = False

    @property
    def running(self) -> bool:
        """Whether a bridge process is there."""
        return self._kept.pid != 0

    @property
    def gave_up(self) -> bool:
        """Whether the bridge died too often, so that the session goes on without it."""
        return self._kept.gave_up

    def start(self) -> None:
        """Start the process and tell it the session. A failure counts as a death, and does not disturb the session."""
        self._kept.start()

    def tell(self, **news: object) -> None:
        """Tell the bridge, also after each restart, new values of fields of `SessionInfo`."""
        self.session = self.session._replace(**news)  # type: ignore[arg-type]  # callers name fields of Session
        self._kept.write(self.session.encode())

    def _introduce(self) -> None:
        """Tell the session to a bridge that has just been started."""
        self.tell(restarts=self._kept.restarts)

    def ended(self, pid: int, status: int) -> bool:
        """Take the news that a child ended; return whether it was the bridge, which is then restarted in due time.

        Args:
            pid: The child's.
            status: As `os.waitpid` tells it.
        """
        if pid == self._kept.pid:
            self._note_silence()  # first: it may be restarted at once
        if not self._kept.ended(pid, status):
            return False
        self._record_end()
        return True

    def tick(self) -> float | None:
        """Restart the bridge if that is due; return the seconds until it will be, or None if nothing is planned."""
        wait = self._kept.tick()
        self._record_end()
        return wait

    def _note_silence(self) -> None:
        """Note when the bridge that has just ended last heard the bus, so that the next one can tell the gap."""
        record = self._record()
        # Another one's record: this bridge ended before it wrote its own.
        if record is not None and record.bridge == self._kept.pid:
            self.session = self.session._replace(bus_heard=uptime() if record.bus == "up" else record.bus_heard)

    def _record_end(self) -> None:
        """Write into the session's record, for `nssh status`, that there is no bridge any more."""
        if not self.gave_up or self._is_recorded:
            return
        self._is_recorded = True
        if (record := self._record()) is not None:
            _write(record._replace(bridge=0, bus="", bus_since="", problem=self.last_words))

    def claim_record(self) -> None:
        """Name the bridge in the record, unless it did so itself: readers spare the connection of one that delivers."""
        if (record := self._record()) is not None and not record.bridge:
            _write(record._replace(bridge=self._kept.pid))

    def _record(self) -> Record | None:
        return session_records.read(session_records.path_of(self.session.pid))

    @property
    def last_words(self) -> str:
        """Why there is no bridge any more, in words for the user."""
        return f"the bridge died {self._kept.restarts + 1} times and was given up; see {self.session.log}.err"

    def close(self) -> None:
        """Close the pipe to the bridge, which then delivers what has arrived, and ends."""
        self._kept.close()


def _write(record: Record) -> None:
    try:
        session_records.write(record)
    except OSError:
        pass  # the user has been told that the directory can't be written, or is told at the session's end
