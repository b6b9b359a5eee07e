"""The launcher's hold on the bridge process: started, told, restarted when it dies, ended by the end of a pipe."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from nssh.base import spawn
from nssh.state import records

if TYPE_CHECKING:
    from nssh.launch.session import Session

INTENSITY = 5
"""Restarts within `PERIOD` after which the launcher goes on without a bridge."""
PERIOD = 60.0
"""Seconds."""


def _delay(recent: int) -> float:
    """Seconds before the next restart: at once after a first death, so that the next URL opens soon, then growing."""
    return 0.0 if recent == 0 else min(0.25 * 2**recent, 8.0)


class Bridge:
    """The bridge of one session; used by the launcher's only thread."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.gave_up = False
        self._pid = 0
        self._pipe = -1
        self._deaths: list[float] = []
        self._due: float | None = None
        self._closing = False

    @property
    def running(self) -> bool:
        """Whether a bridge process is there."""
        return self._pid != 0

    def start(self) -> None:
        """Start the process and tell it the session. A failure counts as a death, and never disturbs the session."""
        self._due = None
        reader, self._pipe = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        errors = null
        try:
            errors = os.open(self.session.log + ".err", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        except OSError:
            pass  # a state directory that can't be written is reported by the bridge itself
        try:
            # -P: a folder named actors in the current directory must not be taken for ours.
            command = [sys.executable, "-P", "-m", "actors"]
            self._pid = spawn.start(command, stdin=reader, stdout=null, stderr=errors, session=True)
        except OSError:
            self._died()
        finally:
            os.close(reader)
            if errors != null:
                os.close(errors)
            os.close(null)
        self._send()

    def tell(self, **news: object) -> None:
        """Tell the bridge, and every one after it, what has become known (fields of `Session`)."""
        self.session = self.session._replace(**news)  # type: ignore[arg-type]  # callers name fields of Session
        self._send()

    def _send(self) -> None:
        if self._pipe < 0:
            return
        try:
            os.write(self._pipe, self.session.encode())
        except BrokenPipeError:
            return  # it is dead; waitpid will say so

    def ended(self, pid: int) -> bool:
        """Take the news that a child ended; return whether it was the bridge, which is then restarted in due time."""
        if pid != self._pid:
            return False
        if self._closing:
            self._pid = 0  # as it should
        else:
            self._died()
        return True

    def _died(self) -> None:
        self._pid = 0
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < PERIOD]
        if len(self._deaths) >= INTENSITY:
            self._give_up()
            return
        self._due = now + _delay(len(self._deaths))
        self._deaths.append(now)
        self.session = self.session._replace(restarts=self.session.restarts + 1)

    def _give_up(self) -> None:
        """Let `nssh status` say what the user is told at the session's end."""
        self.gave_up = True
        record = records.read(records.path_of(self.session.pid))
        if record is None:
            return
        try:
            records.write(record._replace(bridge=0, bus="", bus_since="", problem=self.last_words))
        except OSError:
            pass  # nothing can be written there: it is told at the end

    @property
    def last_words(self) -> str:
        """Why there is no bridge any more."""
        return f"the bridge died {self.session.restarts + 1} times and was given up; see {self.session.log}.err"

    def tick(self) -> float | None:
        """Restart the bridge if that is due; return the seconds until it will be, or None if nothing is planned."""
        if self._due is None:
            return None
        left = self._due - time.monotonic()
        if left > 0:
            return left
        self.start()
        return self.tick()

    def close(self) -> None:
        """Let the bridge end: it sees the end of the pipe, delivers what has arrived, and goes."""
        self._closing = True
        self._due = None
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
