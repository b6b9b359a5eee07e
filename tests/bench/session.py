"""A session at rest, and one whose bridge is killed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.bench.rows import Row, Section, progress
from tests.bench.weight import loaded
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nssh.state.session_records import Record
    from tests.bench.place import Lab
    from tests.bench.scale import Scale

_SETTLED = 12.0
_MOMENT = 0.05
_AT_ONCE = 20
"""URLs in ten seconds; more would be held."""
_WHY = "voluntary context switches: one timer that fires counts once for each thread it passes through"


def idle(lab: Lab, scale: Scale) -> Section:
    """Watch memory, wake-ups and threads of launcher and bridge while nothing happens."""
    if sys.platform != "linux":
        progress("memory and wake-ups are only measured on Linux")
        return Section("A session at rest", [])
    with lab.session() as record:
        time.sleep(min(_SETTLED, 2 * scale.look))  # the measure is what happens in a time without events
        pids = {"launcher": record.pid, "bridge": record.bridge}
        before = switches(*pids.values())
        spent = {name: _cpu(pid) for name, pid in pids.items()}
        moments = _moments(list(pids.values()), scale.look)
        after = {name: switches(pid) for name, pid in pids.items()}
        woken = {name: _more(before, counts) / scale.look for name, counts in after.items()}
        spent = {name: (_cpu(pid) - spent[name]) / scale.look * 60 for name, pid in pids.items()}
        size = {name: psutil.Process(pid).memory_full_info().pss / 1e6 for name, pid in pids.items()}
        threads = psutil.Process(record.bridge).num_threads()
        libraries = loaded(record.bridge)
    rows = [
        Row("launcher + bridge, PSS", (sum(size.values()),), "MB", budget=45),
        Row(f"wake-ups of threads (/proc), over {scale.look:g} s", (sum(woken.values()),), "/s", budget=1, note=_WHY),
        Row("moments in which anything ran, of 50 ms", (moments / scale.look,), "/s"),
        Row("processor time, per minute", (sum(spent.values()),), "ms"),
        Row("threads of the bridge", (threads,), ""),
    ]
    parts = (f"{name}: {size[name]:.1f} MB, {woken[name]:.2f} switches/s" for name in pids)
    has = ", ".join(libraries) or "none"
    text = f"By process: {'; '.join(parts)}. Libraries with compiled parts in the bridge: {has}."
    return Section("A session at rest", rows, text)


def _moments(pids: list[int], seconds: float) -> int:
    """Return in how many moments, of `_MOMENT` each, any thread of the processes ran.

    One timer that fires wakes a process once, though three of its threads may hand each other the word for it within a
    millisecond: those are context switches.
    """
    count, before = 0, switches(*pids)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(_MOMENT)
        now = switches(*pids)
        count += now != before
        before = now
    return count


def switches(*pids: int) -> dict[str, int]:
    """Return how often each thread of some processes has gone to sleep so far."""
    found = {}
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                for line in status.read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        found[status.parent.name] = int(line.split()[1])
    return found


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """Return how often threads that are there have gone to sleep since; those that ended don't count backwards."""
    return sum(count - before.get(thread, 0) for thread, count in after.items())


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def joined(lab: Lab, scale: Scale) -> Section:
    """Open URLs with two sessions of one target: one of them acts, the other stands by, and both are looked at."""
    count = min(scale.reads, _AT_ONCE)
    rows = []
    with lab.session() as leader, lab.joined() as standby:
        if sys.platform == "linux" and not scale.quick:
            time.sleep(min(_SETTLED, 2 * scale.look))
            before = switches(standby.bridge)
            time.sleep(scale.look)  # the measure is what happens in a time without events
            woken = _more(before, switches(standby.bridge)) / scale.look
            rows.append(Row("wake-ups of the bridge that stands by", (woken,), "/s"))
        for number in range(count):
            done = lab.shell.run(f"xdg-open https://example.com/joined/{number}")
            if done.status:
                raise RuntimeError(f"xdg-open: {done.output.decode()}")
        opened = lab.opened(count)
        begun = time.time()
        os.kill(leader.bridge, signal.SIGKILL)
        rows.append(Row("leader's bridge killed, the stand-by leads", (_led(standby) - begun,), "ms", budget=1.0))
    what = f"URLs opened per xdg-open, {count} of them, two joined sessions"
    rows.insert(0, Row(what, (opened / count,), "", budget=1))
    return Section("Two sessions of one target", rows)


def _led(standby: Record) -> float:
    """Wait until a stand-by leads; return when it did, seconds since the epoch."""
    events: list[dict[str, Any]] = []

    def leads() -> bool:
        lines = Path(standby.log).read_bytes().split(b"\n")[:-1]
        events[:] = [
            event for event in map(json.loads, lines) if event["event"] == "leader" and event["pid"] == standby.bridge
        ]
        return bool(events)

    wait_until(leads, "the stand-by leads")
    return dt.datetime.fromisoformat(events[0]["ts"]).timestamp()


def killed(lab: Lab, scale: Scale) -> Section:
    """Give the remote a URL at the moment in which the bridge is killed."""
    times = []
    for run in range(scale.runs):
        with lab.session() as record:
            begun = time.time()
            os.kill(record.bridge, signal.SIGKILL)
            url = f"https://example.com/killed/{run}"
            done = lab.shell.run(f"xdg-open {url}")
            if done.status:
                raise RuntimeError(f"xdg-open: {done.output.decode()}")
            times.append(lab.wait_opened(url) - begun)
    return Section("A killed bridge", [Row("bridge killed, next URL opens", tuple(times), "ms", budget=1.5)])
