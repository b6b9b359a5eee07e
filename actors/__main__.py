"""The bridge process: reads what the launcher tells on stdin, runs the tree, ends when that pipe does."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from actors.messages import Drain, Log
from actors.supervision import AskError, Heartbeat, Outcome, StartError
from actors.supervision.debug import dump_stacks
from actors.tree import Tree
from nssh.base import process
from nssh.base.errors import NsshError
from nssh.config import settings
from nssh.launch import session_info as sessions
from nssh.ssh import master
from nssh.state import session_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.launch.session_info import SessionInfo

# Seconds from the launcher's end to ours, whatever hangs: below the 5 that are promised.
_LAST_MOMENT = 4.0
# Seconds for what has arrived to take effect, and for the tree to stop.
_DRAIN = 2.0
_STOP = 1.5


def _told(fd: int) -> Iterator[SessionInfo]:
    """Yield what the launcher tells on a pipe, until its end.

    Not by `sys.stdin`, whose lock a thread holds while it waits: at its end Python wants to close it, and aborts.
    """
    rest = b""
    while data := os.read(fd, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield sessions.decode(line)


def main() -> int:
    """Run the bridge; returns its exit status (1 asks the launcher to start another one)."""
    heart = Heartbeat.adopt()
    if os.getpgrp() != os.getpid():
        os.setsid()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(threadName)s %(name)s: %(message)s")
    # The launcher's signals are its own affair; ours is the end of the pipe.
    for name in ("SIGINT", "SIGHUP", "SIGTSTP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: dump_stacks(sys.stderr))
    told = _told(sys.stdin.fileno())
    session = next(told, None)
    if session is None:
        return 0
    return Bridge(session, told, heart).run()


class Bridge:
    """One life of the bridge process."""

    def __init__(self, session: SessionInfo, told: Iterator[SessionInfo], heart: Heartbeat) -> None:
        self._session = session
        self._told = told
        self._child_born = process.birth(session.child) if session.child else ""
        self._tree = Tree(session, settings.load(), heartbeat=heart.beat)
        self._launcher_gone = threading.Event()

    def run(self) -> int:
        """Run the tree until the launcher's end or an escalation."""
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
            # Where the launcher says to look; what writes the log may be what failed.
            print(f"nssh: the bridge gives up: {supervisor.escalation}", file=sys.stderr)
        if outcome is Outcome.ESCALATED or not self._launcher_gone.is_set():
            # The session goes on, with the record and the master that are its own; the launcher starts another bridge.
            return 1
        self._clean_up()
        return 0

    def _listen(self) -> None:
        """Pass on what the launcher tells, then see to the end; on a thread of its own."""
        try:
            for session in self._told:
                if session.child and session.child != self._session.child:
                    self._child_born = process.birth(session.child)
                self._session = session
                self._tree.tell(session)
        finally:  # whatever was told: a bridge that listens no more must not outlive the launcher
            self._end()

    def _end(self) -> None:
        self._launcher_gone.set()
        threading.Thread(target=self._watchdog, name="watchdog", daemon=True).start()
        self._end_child()
        self._drain()
        fields: dict[str, object] = {"mosh": self._session.transport == "mosh"}
        if self._session.exit is not None:  # a launcher that was killed told none
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
        """End an ssh or mosh-client that outlived the launcher: nobody is left to give it a terminal."""
        if self._session.child and not process.is_same(self._session.pid, self._session.birth):
            process.terminate(self._session.child, self._child_born, signal.SIGHUP)

    def _drain(self) -> None:
        """Wait for what has arrived to take effect."""
        deadline = time.monotonic() + _DRAIN
        pause = 0.005
        while time.monotonic() < deadline:
            try:
                if self._tree.supervisor.directory.ask("subscriber", Drain(), _DRAIN):
                    return
            except (AskError, LookupError):
                return
            time.sleep(pause)
            pause *= 2

    def _clean_up(self) -> None:
        """Leave nothing behind: the record, those of the dead, its socket, the master of a login that was ours."""
        session_records.remove(self._session.pid)
        try:
            session_records.survey()
        except OSError as error:  # nobody is left who could write it to the log
            print(f"nssh: records of the dead can't be removed: {error.strerror}", file=sys.stderr)
        if self._session.own_control and self._session.control_path:
            master.end(self._session.control_path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NsshError, OSError) as problem:
        print(f"nssh: {problem}", file=sys.stderr)
        sys.exit(1)
