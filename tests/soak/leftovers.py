"""What a soak may not leave behind: processes, records, sockets, temporary files, tracebacks."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from tests.soak.world import World

_GONE = 40.0
"""Seconds; masters and bridges whose link was cut notice it in time."""


def look(world: World) -> list[str]:
    """Wait until everything has ended, and return what is left that should not be."""
    laptop = world.laptop
    found = []
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not laptop.processes(), "all of the laptop's is gone", _GONE)
    found += [f"process {_describe(process)} of the laptop" for process in laptop.processes()]
    # A session whose processes were all killed can't clean up: the next one does, and so does who asks.
    laptop.run("status")
    allowed = {"lock"}
    sessions = laptop.state / "sessions"
    found += [f"{path}" for path in sessions.iterdir() if path.name not in allowed]
    runtime = Path(laptop.env["XDG_RUNTIME_DIR"])
    found += [f"{path}" for path in runtime.rglob("*") if path.is_socket() or path.is_file()]
    found += [f"{path}" for path in world.temporary.iterdir()]
    for home in (laptop.client.home, world.home):
        found += [f"{path}" for path in home.rglob("*.tmp")]
    text = laptop.tracebacks()
    if text:
        found.append(f"a bridge wrote to standard error: {text[:4000]}")
    return found + _remote(world)


def _remote(world: World) -> list[str]:
    """Everything on the remote but the daemon, which ends by itself when it has been idle."""
    world.end_relay()
    deadline = time.monotonic() + 15.0
    while world.remote.leftovers() and time.monotonic() < deadline:
        time.sleep(0.2)
    found = [f"process {_describe(process)} on the remote" for process in world.remote.leftovers()]
    state = world.home / ".local/state/nssh"
    found += [f"{path}" for path in state.rglob("*") if path.is_socket()]
    log = state / "relay/relay.log"
    if log.exists() and "Traceback" in log.read_text():
        found.append(f"the relay wrote a traceback: {log.read_text()[-4000:]}")
    return found


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)
