"""Breaks things as planned and makes them whole again; keeps three sessions going meanwhile."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import psutil

from tests.soak.plan import Fault
from tests.soak.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.soak.traffic import Shots
    from tests.soak.watch import Watch
    from tests.soak.world import World

SLOTS = 3

# Seconds from a session's end to the start of another one in its place.
_RESTART = (0.0, 1.5)
# Seconds for one that was asked to end; then what it hangs at is a defect.
_END = 40.0

# Seconds for a shim to start that a fault is aimed at.
_PATIENCE = 2.0


# Seconds from a thaw until what waited has begun to be done; and how many connections don't live to see it.
_BACKLOG = 5.0
_CUTS = 0.7

_WHO_ACTS = Fault(0.0, "bridge-kill", -1, 0.0, None)


class Kill(NamedTuple):
    """A SIGKILL that a bridge got, or may have got from a session that replaced its own; `time` is `time.time()`."""

    pid: int
    time: float
    why: str


class Breaker:
    """Used by one thread; `note` takes one line a happening."""

    def __init__(
        self, world: World, watch: Watch, shots: Shots, *, logs: Path, seed: int, note: Callable[[str], object]
    ) -> None:
        self._world = world
        self._shots = shots
        self._watch = watch
        self._logs = logs
        self._note = note
        self._chance = random.Random(f"{seed}-restarts")  # noqa: S311 - no secret
        self._numbers = itertools.count(1)
        self._undo: list[tuple[float, int, Callable[[], object]]] = []
        self._aims: list[tuple[float, int]] = []
        self._due = [0.0] * SLOTS
        self._busy: set[object] = set()  # what is stopped, frozen or dead at present
        self.slots: list[Session | None] = [None] * SLOTS
        self.former: list[Session] = []
        self.counts: Counter[str] = Counter()
        self.kills: list[Kill] = []
        self.restarts = 0
        self.complaints: list[str] = []

    # Keeping sessions.

    def tick(self) -> None:
        """Undo what is due to be undone, and start a session where one ended."""
        now = time.monotonic()
        while self._undo and self._undo[0][0] <= now:
            heapq.heappop(self._undo)[2]()
        self._kill_at_work()
        for slot, session in enumerate(self.slots):
            if session is not None and not session.running:
                self._ended(session)
                self.slots[slot] = None
                self._due[slot] = now + self._chance.uniform(*_RESTART)
            elif session is None and now >= self._due[slot]:
                self.slots[slot] = self._start("--join")
        for session in list(self.former):
            if not session.running:
                self._ended(session)
                self.former.remove(session)
            elif not session.hung_up and not self._is_being_replaced(session):
                self._note(f"session {session.number} is ended: who was to replace it was killed before")
                session.hang_up()

    def _is_being_replaced(self, session: Session) -> bool:
        return any(one.flag == "--replace" and one.number > session.number for one in self._all())

    def _start(self, flag: str) -> Session:
        session = Session(self._world.laptop, self._logs, next(self._numbers), flag)
        session.expected = any(one.flag == "--replace" and not _has_role(one) for one in self._all())
        self.restarts += 1
        self._note(f"session {session.number} (pid {session.process.pid}) starts with {flag}")
        return session

    def _all(self) -> list[Session]:
        return [one for one in (*self.slots, *self.former) if one is not None and one.running]

    def _ended(self, session: Session) -> None:
        status, words = session.process.returncode, session.words().strip()
        session.hang_up()
        self._note(f"session {session.number} (pid {session.process.pid}) ended with {status}: {words or '-'}")
        if not session.expected:
            self.complaints.append(f"session {session.number} ended by itself with {status}: {words or '-'}")
        if "Traceback" in words:
            self.complaints.append(f"session {session.number} wrote a traceback: {words}")

    # Breaking.

    def do(self, fault: Fault) -> None:
        """Let a fault happen, and plan its end."""
        if fault.aim is not None and self._shots.wait_next(_PATIENCE):
            time.sleep(fault.aim)
        done = getattr(self, "_" + fault.kind.replace("-", "_"))(fault)
        self.counts[fault.kind if done else "skipped"] += 1
        if not done:
            self._note(f"{fault.kind} skipped")

    def restore(self) -> None:
        """Undo all that can be undone, at once."""
        while self._undo:
            heapq.heappop(self._undo)[2]()
        self._aims.clear()
        self._world.start_server()

    def _later(self, seconds: float, what: str, undo: Callable[[], object], key: object) -> None:
        def end() -> None:
            self._note(f"{what}: over")
            self._busy.discard(key)
            undo()

        self._busy.add(key)
        heapq.heappush(self._undo, (time.monotonic() + seconds, next(self._numbers), end))

    def _session(self, fault: Fault) -> Session | None:
        """Return whom a fault is meant for: the session in a slot, or the one that holds the lease."""
        if fault.slot >= 0:
            return self.slots[fault.slot]
        for session in self.slots:
            bridge = session.child(bridge=True) if session is not None else None
            if bridge is not None and bridge.pid == self._watch.holder:
                return session
        return self.slots[0]

    def _kill(self, process: psutil.Process, what: str, session: Session) -> None:
        self._note(f"{what} of session {session.number} (pid {process.pid}) is killed")
        self.kills.append(Kill(process.pid, time.time(), what))
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()

    def _bridge_kill(self, fault: Fault) -> bool:
        session = self._session(fault)
        bridge = session.child(bridge=True) if session is not None else None
        if session is None or bridge is None or not session.may_lose_bridge():
            return False
        self._kill(bridge, "the bridge", session)
        return True

    def _heir_kill(self, fault: Fault) -> bool:
        """Kill the bridge that acts, and whoever acts then, likely at what the first one left."""
        if not self._bridge_kill(_WHO_ACTS):
            return False
        self._later(fault.lasts, "the peace of the heir", lambda: self._bridge_kill(_WHO_ACTS), object())
        return True

    def _thaw_kill(self, fault: Fault) -> bool:
        """Let much wait for the bridge that acts, along its stream or for its next poll, and kill it at the first."""
        name = "bus" if "bus" in self._world.links else "link"
        if not self._freeze(name, fault):
            return False
        cut = (self._bus_cut if name == "bus" else self._link_cut) if self._chance.random() < _CUTS else None

        def aim() -> None:
            if cut is not None:
                cut(fault)
            self._aims.append((time.monotonic() + _BACKLOG, len(self._world.browser.opened())))

        self._later(fault.lasts, f"the quiet of {name}", aim, object())
        return True

    def _kill_at_work(self) -> None:
        """Kill the bridge that acts as soon as it has opened a URL that waited."""
        if self._aims:
            until, opened = self._aims[0]
            if len(self._world.browser.opened()) > opened:
                self._bridge_kill(_WHO_ACTS)
            elif time.monotonic() < until:
                return
            self._aims.pop(0)

    def _stop(self, fault: Fault, *, bridge: bool) -> bool:
        session = self._session(fault)
        if session is None:
            return False
        process = session.child(bridge=True) if bridge else session.launcher
        if process is None or process in self._busy or not session.running:
            return False
        what = f"{'the bridge' if bridge else 'the launcher'} of session {session.number} (pid {process.pid})"
        self._note(f"{what} is stopped for {fault.lasts:.1f} s")
        process.suspend()

        def go_on() -> None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

        self._later(fault.lasts, what, go_on, process)
        return True

    def _bridge_stop(self, fault: Fault) -> bool:
        return self._stop(fault, bridge=True)

    def _launcher_stop(self, fault: Fault) -> bool:
        return self._stop(fault, bridge=False)

    def _launcher_kill(self, fault: Fault) -> bool:
        session = self._session(fault)
        if session is None or not session.running:
            return False
        session.expected = True
        self._kill(session.launcher, "the launcher", session)
        return True

    def _both_kill(self, fault: Fault) -> bool:
        session = self._session(fault)
        bridge = session.child(bridge=True) if session is not None else None
        if session is None or bridge is None:
            return False
        session.expected = True
        self._kill(session.launcher, "the launcher", session)
        self._kill(bridge, "the bridge", session)
        session.hang_up()  # nobody else ends its ssh: it has no terminal
        return True

    def _ssh_kill(self, fault: Fault) -> bool:
        session = self._session(fault)
        ssh = session.child(bridge=False) if session is not None else None
        if session is None or ssh is None:
            return False
        session.expected = True
        self._kill(ssh, "ssh", session)
        return True

    def _session_end(self, fault: Fault) -> bool:
        session = self._session(fault)
        if session is None or not session.running:
            return False
        self._note(f"session {session.number} is ended")
        session.expected = True
        session.hang_up()
        return True

    def _session_replace(self, fault: Fault) -> bool:
        slot = max(fault.slot, 0)
        now = time.time()
        for session in self._all():
            session.expected = True
            bridge = session.child(bridge=True)
            if bridge is not None:
                self.kills.append(Kill(bridge.pid, now, "replaced"))
        old = self.slots[slot]
        if old is not None:
            self.former.append(old)
        self.slots[slot] = self._start("--replace")
        return True

    def _server_kill(self, fault: Fault) -> bool:
        server = self._world.server
        if server is None:
            relay = self._world.relay()
            if relay is None:
                return False
            self._note(f"the relay (pid {relay.pid}) is killed")
            relay.kill()
            return True
        if "server" in self._busy:
            return False
        self._note(f"ntfy is killed, for {fault.lasts:.1f} s")
        server.kill()
        self._later(fault.lasts, "ntfy", server.start, "server")
        return True

    def _server_stop(self, fault: Fault) -> bool:
        server = self._world.server
        relay = self._world.relay() if server is None else None
        if "server" in self._busy or (server is None and relay is None):
            return False
        self._note(f"the server is stopped for {fault.lasts:.1f} s")

        def go_on() -> None:
            if server is not None:
                server.resume()
            elif relay is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    relay.resume()

        if server is not None:
            server.pause()
        elif relay is not None:
            relay.suspend()
        self._later(fault.lasts, "the server", go_on, "server")
        return True

    def _freeze(self, name: str, fault: Fault) -> bool:
        if name in self._busy:
            return False
        self._note(f"{name} is frozen for {fault.lasts:.1f} s")
        link = self._world.links[name]
        link.freeze()
        self._later(fault.lasts, name, link.thaw, name)
        return True

    def _link_freeze(self, fault: Fault) -> bool:
        return self._freeze("link", fault)

    def _bus_freeze(self, fault: Fault) -> bool:
        return self._freeze("bus", fault)

    def _link_cut(self, _: Fault) -> bool:
        for session in self._all():
            session.expected = True
        self._note("link is cut")
        self._world.links["link"].cut()
        return True

    def _bus_cut(self, _: Fault) -> bool:
        self._note("bus is cut")
        self._world.links["bus"].cut()
        return True

    # The end.

    def end(self) -> None:
        """End all sessions for good."""
        for session in self._all():
            session.expected = True
            session.hang_up()
        deadline = time.monotonic() + _END
        for session in self._all():
            with contextlib.suppress(Exception):
                session.process.wait(max(0.1, deadline - time.monotonic()))
            if session.running:
                self.complaints.append(f"session {session.number} does not end")
                session.process.send_signal(signal.SIGKILL)
                session.process.wait()
        for session in self.former + [one for one in self.slots if one is not None]:
            self._ended(session)


def _has_role(session: Session) -> bool:
    record = session.record()
    return record is not None and bool(record.role)
