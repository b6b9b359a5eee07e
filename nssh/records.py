"""Records of live sessions, `sessions/<pid>.json` in the state directory, as PROTOCOL.md has them.

A record is written by the session's own bridge (and, if that gave up, by the launcher), atomically, 0600. One whose
process is gone, or is another process by now, is removed by whoever reads it.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from nssh import process
from nssh.wire import files

_LIMIT = 64 * 1024


class Record(NamedTuple):
    """One session; the first seven fields are also the Go program's, the others may be missing in a record of its."""

    pid: int
    target: str
    host: str
    topic: str
    server: str
    started: str
    log: str
    create_time: float = 0.0
    birth: str = ""
    key: str = ""
    socket: str = ""
    role: str = ""
    transport: str = ""
    route: str = ""
    bus: str = ""
    bus_since: str = ""
    bridge: int = 0
    restarts: int = 0
    actor_restarts: int = 0
    held: int = 0
    problem: str = ""
    version: str = ""

    @property
    def live(self) -> bool:
        """Whether the session's process still runs; a record without birth (Go) is believed if its PID exists."""
        return process.is_same(self.pid, self.birth) if self.birth else bool(process.birth(self.pid))


def directory() -> str:
    """Return the directory of the records, created 0700 if need be.

    Raises:
        OSError: It can't be made.
    """
    return files.make_private_dir(os.path.join(files.state_dir(), "sessions"))


def path_of(pid: int) -> str:
    """Return where the record of a session is."""
    return os.path.join(files.state_dir(), "sessions", f"{pid}.json")


def write(record: Record) -> None:
    """Write a record atomically.

    Raises:
        OSError: The state directory can't be written.
    """
    content = {name: value for name, value in record._asdict().items() if value or name in {"pid", "restarts"}}
    files.write_private(os.path.join(directory(), f"{record.pid}.json"), json.dumps(content).encode())


def read(path: str) -> Record | None:
    """Read a record; None if it is missing or no record at all."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    defaults = {"pid": 0, "target": "", "host": "", "topic": "", "server": "", "started": "", "log": ""}
    defaults.update(Record._field_defaults)
    values: dict[str, object] = {}
    for name, default in defaults.items():
        value = content.get(name, default)
        if isinstance(default, float) and type(value) is int and abs(value) < 1 << 53:
            value = float(value)
        values[name] = value if type(value) is type(default) else default
    record = Record(**values)  # type: ignore[arg-type]  # each value has its default's type, checked above
    return record if record.pid > 0 else None


def remove(pid: int) -> None:
    """Remove a session's record and control socket, if they are there."""
    record = read(path_of(pid))
    for path in (path_of(pid), record.socket if record else ""):
        if path:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass


def live() -> list[Record]:
    """Return the records of live sessions, oldest first; stale ones are removed."""
    found: list[Record] = []
    try:
        names = os.listdir(os.path.join(files.state_dir(), "sessions"))
    except FileNotFoundError:
        return found
    for name in names:
        stem = name.removesuffix(".json")
        if not name.endswith(".json") or not (stem.isascii() and stem.isdigit()):
            continue
        record = read(path_of(int(stem)))
        if record is not None and record.pid == int(stem) and record.live:
            found.append(record)
        elif not process.birth(int(stem)) or record is not None:
            remove(int(stem))
    # Fractions of a second, as Go writes them, sort behind their second once the Z is gone.
    return sorted(found, key=lambda record: record.started.removesuffix("Z"))
