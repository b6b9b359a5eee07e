"""The bridge process: runs the tree of actors, reads the session's state from stdin, and ends when stdin does."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from actors.messages import IsDrained, Log
from actors.supervision import AskError, Heartbeat, Outcome, StartError
from actors.supervision.debug import dump_stacks
from actors.tree import Tree
from nssh.base import process
from nssh.base.errors import NsshError
from nssh.config import settings
from nssh.launch import session_info as sessions
from nssh.ssh import log_fifo, master
from nssh.state import session_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.launch.session_info import SessionInfo

# Seconds from the launcher's end until the bridge exits at the latest, even if an actor hangs: 5 are promised.
_LAST_MOMENT = 4.0
# Seconds for the messages that have arrived to take effect, and for the tree to stop.
_DRAIN = 2.0
_STOP = 1.5


def _sessions(fd: int) -> Iterator[SessionInfo]:
    """Yield the session's state each time the launcher writes it to the pipe `fd`, until the pipe ends.

    Not read by `sys.stdin`: a thread that waits for input holds its lock, and Python aborts if it can't close
    `sys.stdin` at exit.
    """
    rest = b""
    while data := os.read(fd, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield sessions.decode(line)


def main() -> int:
    """Run the bridge and return its exit status; 1 asks the launcher to start another bridge."""
    heart = Heartbeat.adopt()
    if os.getpgrp() != os.getpid():
        os.setsid()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(threadName)s %(name)s: %(message)s")
    # The terminal's signals are for the launcher; the bridge ends with the pipe.
    for name in ("SIGINT", "SIGHUP", "SIGTSTP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: dump_stacks(sys.stderr))
    states = _sessions(sys.stdin.fileno())
    session = next(states, None)
    if session is None:
        return 0
    return Bridge(session, states, heart).run()


class Bridge:
    """Runs the tree of one session, and cleans up behind the session when the launcher has gone."""

    def __init__(self, session: SessionInfo, states: Iterator[SessionInfo], heart: Heartbeat) -> None:
        self._session = session
        self._states = states  # the later ones
        self._child_born = process.birth(session.child) if session.child else ""
        self._tree = Tree(session, settings.load(), heartbeat=heart.beat)
        self._launcher_gone = threading.Event()

    def run(self) -> int:
        """Run the tree until the launcher ends or the tree escalates; return the exit status. Blocks."""
        session, supervisor = self._session, self._tree.supervisor
        threading.Thread(target=self._listen, name="launcher", daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: supervisor.request_stop(timeout=_STOP))
        try:
            supervisor.start()
        except StartError as error:
            if not self._launcher_gone.is_set():
                print(f"nssh: the bridge did not start: {error}: {error.__cause__}", file=sys.stderr)
                return 1
        send = supervisor.directory.send
        if session.restarts:
            send("log_writer", Log("bridge-restart", {"restarts": session.restarts}))
        else:
            fields: dict[str, object] = {"target": session.target.destination, "host": session.key}
            fields |= {"server": session.server, "joined": session.joined, "replaced": list(session.replaced)}
            send("log_writer", Log("session-start", fields))
        outcome = supervisor.wait()
        if outcome is Outcome.ESCALATED:
            # To stderr, a file that the launcher names to the user: the log writer may be what failed.
            print(f"nssh: the bridge gives up: {supervisor.escalation}", file=sys.stderr)
        if outcome is Outcome.ESCALATED or not self._launcher_gone.is_set():
            # The session goes on, and keeps its record and its ssh master; the launcher starts another bridge.
            return 1
        self._clean_up()
        return 0

    def _listen(self) -> None:
        """Pass each new state of the session to the tree; when the launcher has ended, end. Runs on its own thread."""
        try:
            for session in self._states:
                if session.child and session.child != self._session.child:
                    self._child_born = process.birth(session.child)
                self._session = session
                self._tree.tell(session)
        finally:  # also after invalid input: without this thread nothing would end the bridge after the launcher
            self._end()

    def _end(self) -> None:
        self._launcher_gone.set()
        threading.Thread(target=self._watchdog, name="watchdog", daemon=True).start()
        self._end_child()
        self._drain()
        fields: dict[str, object] = {"mosh": self._session.transport == "mosh"}
        if self._session.exit is not None:  # a killed launcher reports no exit status
            fields["exit"] = self._session.exit
        self._tree.supervisor.directory.send("log_writer", Log("session-end", fields))
        self._tree.supervisor.request_stop(timeout=_STOP)

    def _watchdog(self) -> None:
        time.sleep(_LAST_MOMENT)
        try:
            self._clean_up()
        finally:
            os._exit(1)

    def _end_child(self) -> None:
        """End the ssh or mosh-client if the launcher was killed: its terminal has no owner any more."""
        if self._session.child and not process.is_same(self._session.pid, self._session.birth):
            process.terminate(self._session.child, self._child_born, signal.SIGHUP)

    def _drain(self) -> None:
        """Wait up to `_DRAIN` seconds until every message that has arrived has taken effect."""
        deadline = time.monotonic() + _DRAIN
        pause = 0.005
        while time.monotonic() < deadline:
            try:
                if self._tree.supervisor.directory.ask("subscriber", IsDrained(), _DRAIN):
                    return
            except (AskError, LookupError):
                return
            time.sleep(pause)
            pause *= 2

    def _clean_up(self) -> None:
        """Remove the session's record and socket and those of dead sessions; end the ssh master if nssh started it."""
        session_records.remove(self._session.pid)
        log_fifo.remove_abandoned()
        try:
            session_records.survey()
        except OSError as error:  # the log writer has stopped
            print(f"nssh: records of the dead can't be removed: {error.strerror}", file=sys.stderr)
        if self._session.own_control and self._session.control_path:
            master.end(self._session.control_path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NsshError, OSError) as problem:
        print(f"nssh: {problem}", file=sys.stderr)
        sys.exit(1)
