"""One soak on one bus, from the first session to the account."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nssh.bus.ledger import Ledger
from tests.soak import leftovers, plan
from tests.soak.breaker import SLOTS, Breaker
from tests.soak.traffic import Program, Shots
from tests.soak.verdict import Findings, Seen
from tests.soak.watch import Watch
from tests.soak.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.soak.traffic import Deed

PROGRAMS = 3

_TICK = 0.02
_SETTLED = 90.0
"""Seconds after a storm until all is as it was; then something is broken for good."""
_CALM = 5.0
_OPENED = 30.0


class NotSettledError(Exception):
    """What broke did not mend by itself."""


class Soak:
    """One soak; used by one thread, beside those of the programs and the watch."""

    def __init__(self, bus: str, seconds: float, seed: int, logs: Path) -> None:
        self._bus = bus
        self._seconds = seconds
        self._seed = seed
        self._logs = logs
        self._log = (logs / "soak.log").open("w", buffering=1)
        self._shots = Shots()
        self._deeds: list[Deed] = []
        self._calms: list[tuple[float, float]] = []
        self._wrong: list[str] = []
        self._settling: list[float] = []

    def run(self) -> bool:
        """Do it and print the account; return whether all is well."""
        with World(self._bus) as self._world, Watch(self._world.laptop.state / "topics") as self._watch:
            try:
                return self._run()
            except NotSettledError as error:
                sys.stdout.write(f"{self._bus}, SEED={self._seed}: it did not even begin: {error}\n")
                return False
            finally:
                self._keep()

    def _note(self, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        self._log.write(f"{now} {text}\n")

    def _note_deed(self, deed: Deed) -> None:
        self._deeds.append(deed)
        self._note(f"{deed}")

    def _run(self) -> bool:
        self._breaker = breaker = Breaker(
            self._world, self._watch, self._shots, logs=self._logs, seed=self._seed, note=self._note
        )
        self._settle(probe=False)
        self._probe = Program(self._world, 0, self._seed, self._shots, self._note_deed)
        programs = [
            Program(self._world, number, self._seed, self._shots, self._note_deed) for number in range(1, PROGRAMS + 1)
        ]
        for program in programs:
            program.start()
        try:
            self._storms()
        except NotSettledError as error:
            self._wrong.append(str(error))
        for program in programs:
            program.stop()
        for program in programs:
            while program.is_alive():
                self._idle(0.1)
            if program.failure is not None:
                self._wrong.append(f"{program.name}: {program.failure!r}")
        self._probe.do("write")
        self._idle(3.0)
        seen = self._look()
        breaker.end()
        for program in (*programs, self._probe):
            program.close()
        self._wrong += breaker.complaints + self._watch.conflicts + leftovers.look(self._world)
        return self._account(seen)

    def _storms(self) -> None:
        end = time.monotonic() + self._seconds
        for number, storm in enumerate(plan.storms(self._seed, self._bus), 1):
            self._note(f"storm {number}")
            begun = time.monotonic()
            for fault in storm:
                if time.monotonic() > end:
                    break
                self._idle(begun + fault.at - time.monotonic())
                if fault.kind != "over":
                    self._breaker.do(fault)
            self._breaker.restore()
            self._settle(probe=True)
            calm = time.monotonic()
            self._idle(_CALM)
            self._calms.append((calm, time.monotonic()))
            if time.monotonic() > end:
                return

    def _idle(self, seconds: float) -> None:
        """Let time pass, and sessions be kept."""
        end = time.monotonic() + seconds
        while True:
            self._breaker.tick()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_TICK, left))

    def _settle(self, *, probe: bool) -> None:
        """Wait until three sessions are there, one of them acts, and what is sent arrives.

        Raises:
            NotSettledError: That does not come.
        """
        self._note("settling")
        begun = time.monotonic()
        while not self._is_settled(begun, probe=probe):
            self._idle(0.1)
        for session in self._breaker.slots:
            if session is not None:
                session.expected = False  # whatever it survived
        self._settling.append(time.monotonic() - begun)
        self._note(f"settled after {self._settling[-1]:.2f} s")

    def _is_settled(self, begun: float, *, probe: bool) -> bool:
        lacking = self._lacking()
        if lacking and time.monotonic() - begun > _SETTLED:
            status = self._world.laptop.run("status", "--json").stdout
            raise NotSettledError(f"{_SETTLED:g} s after a storm: {lacking}; {status}")
        return not lacking and (not probe or self._ask_around())

    def _lacking(self) -> str:
        """Say what is not as it should be, `` if nothing is."""
        slots = self._breaker.slots
        if self._breaker.former:
            return "a session that was replaced or ended is still there"
        sessions = [one for one in slots if one is not None and one.running and not one.hung_up]
        if len(sessions) < SLOTS:
            return f"{len(sessions)} sessions run"
        found = [one.record() for one in sessions]
        roles = sorted(record.role if record is not None else "" for record in found)
        if roles != ["leader", *["standby"] * (SLOTS - 1)]:
            return f"the roles are {roles}"
        if any(one.child(bridge=True) is None for one in sessions):
            return "a bridge is missing"
        leader = next(record for record in found if record is not None and record.role == "leader")
        if leader.bridge != self._watch.holder:
            return f"{leader.bridge} leads, and {self._watch.holder} has the lease"
        return "" if leader.bus == "up" and leader.version else f"the bus of the leader is {leader.bus}"

    def _ask_around(self) -> bool:
        """See that sessions give back what they are given, and that a URL is opened; False if one has ended meanwhile.

        Raises:
            NotSettledError: They don't, or it is not.
        """
        lines = {session: session.say() for session in self._breaker.slots if session is not None and session.running}
        deed = self._probe.do("open")
        begun = time.monotonic()

        def lacking() -> str:
            silent = [session.number for session, line in lines.items() if not session.hears(line)]
            if silent:
                return f"sessions {silent} do not give back what they were given"
            if not deed.accepted or any(one.url == deed.what for one in self._world.browser.opened()):
                return ""
            return "" if deed.what in self._held() else f"{deed.what} is not opened"

        while (what := lacking()) != "":
            if not all(session.running for session in lines):
                return False  # what happened last has ended it
            if time.monotonic() - begun > _OPENED:
                raise NotSettledError(f"{_OPENED:g} s after all was up: {what}")
            self._idle(0.1)
        return len(lines) == SLOTS and all(session.running for session in lines)

    def _held(self) -> list[str]:
        """Return the URLs that wait for the user."""
        lines = self._world.laptop.run("status", "--held").stdout.splitlines()
        return [line.split()[-1] for line in lines if "  held  " in line and "http://" in line]

    def _look(self) -> Seen:
        """Gather what was seen; what is held is opened."""
        world = self._world
        held = self._held()
        while self._held():
            opened = world.laptop.run("status", "--open-held")
            if opened.returncode:
                self._wrong.append(f"--open-held: {opened.stderr}")
                break
        backlog = world.backlog()
        return Seen(
            deeds=list(self._deeds),
            calms=self._calms,
            backlog=[message for _, message in backlog],
            strict=world.bus == "relay",
            opened=world.browser.opened(),
            held=held,
            changes=world.clipboard.changes(),
            events=world.laptop.events(),
            claimed=self._ledger().seen,
            kills=self._breaker.kills,
            reigns=self._watch.reigns,
            topics={message.id: number for number, message in backlog},
        )

    def _ledger(self) -> Ledger:
        """Return a copy of the topic's ledger: whoever loads one may rewrite it."""
        (path,) = (self._world.laptop.state / "topics").glob("*.ledger")
        copy = self._logs / "ledger"
        shutil.copy(path, copy)
        return Ledger(os.fspath(copy))

    def _account(self, seen: Seen) -> bool:
        findings = Findings(seen)
        wrong = self._wrong + findings.wrong
        counts = {
            "faults": dict(sorted(self._breaker.counts.items())),
            "storms": len(self._calms),
            "sessions": self._breaker.restarts,
            **dict(sorted(findings.counts.items())),
            "longest time without a holder of the lease": f"{self._watch.longest_vacancy():.2f} s",
            "looks at the lease": self._watch.looks,
            "time to settle": " ".join(f"{seconds:.1f}" for seconds in self._settling) + " s",
        }
        lines = [f"{self._bus}, {self._seconds:g} s, SEED={self._seed}:"]
        lines += [f"  {name}: {value}" for name, value in counts.items()]
        lines += [f"  excused: {text}" for text in findings.excused]
        lines += [f"  WRONG: {text}" for text in wrong]
        lines.append(f"  {'all is well' if not wrong else f'{len(wrong)} things are wrong; see {self._logs}'}")
        text = "\n".join(lines) + "\n"
        (self._logs / "account").write_text(text)
        sys.stdout.write(text)
        return not wrong

    def _keep(self) -> None:
        """Keep what there is to look at, should something be wrong."""
        laptop, logs = self._world.laptop, self._logs
        shutil.copytree(laptop.state, logs / "laptop", ignore=_sockets, dirs_exist_ok=True)
        shutil.copytree(self._world.home / ".local/state/nssh", logs / "remote", ignore=_sockets, dirs_exist_ok=True)
        for name in ("opened", "clipboard/journal"):
            if (laptop.client.home / name).exists():
                shutil.copy(laptop.client.home / name, logs)
        shutil.copy(self._world.remote.log, logs / "sshd.log")
        (logs / "reigns").write_text("\n".join(map(str, self._watch.reigns)))
        (logs / "deeds").write_text("\n".join(json.dumps(deed._asdict()) for deed in self._deeds))
        self._log.close()


def _sockets(directory: str, names: list[str]) -> list[str]:
    from pathlib import Path

    return [name for name in names if Path(directory, name).is_socket()]
