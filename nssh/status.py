"""`nssh status`: the sessions of this machine, their events, and the URLs that wait for a decision."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh import config, held, records
from nssh.durations import format_gap
from nssh.errors import ToolError
from nssh.wire import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.records import Record

# Seconds; the responder answers within 1.5 (DESIGN.md, G3).
_PROBE = 2.0


class Liveness(NamedTuple):
    """What a session said when it was asked over its control socket."""

    alive: bool | None
    """None if it has no socket to ask."""
    rtt: float = 0.0
    """Seconds around the bus."""


def probe(record: Record, timeout: float = _PROBE) -> Liveness:
    """Ask a session whether it lives: it sends a ping around its bus and tells how long that took."""
    if not record.socket:
        return Liveness(None)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(record.socket)
            answer = json.loads(connection.recv(4096) or b"{}")
        except (OSError, ValueError):
            return Liveness(alive=False)
    if not isinstance(answer, dict):
        return Liveness(alive=False)
    rtt = answer.get("rtt")
    return Liveness(answer.get("alive") is True, float(rtt) if isinstance(rtt, int | float) else 0.0)


def run(option: str) -> int:
    """Run `nssh status` with one of its options, or none, and return its exit code."""
    commands: dict[str, Callable[[], int]] = {
        "": _table,
        "--json": _json,
        "--tail": _tail,
        "--held": _list_held,
        "--open-held": _open_held,
    }
    return commands[option]()


def _uptime(record: Record) -> float:
    try:
        started = datetime.fromisoformat(record.started)
    except ValueError:
        return 0.0
    if started.tzinfo is None:
        started = started.replace(tzinfo=UTC)
    return max(0.0, time.time() - started.timestamp())


def _json() -> int:
    sessions: list[dict[str, Any]] = []
    for record in records.live():
        liveness = probe(record)
        fields = record._asdict()
        # The topic is a secret; whoever needs it reads the record, which is as private as this terminal may not be.
        for secret in ("topic", "birth", "socket"):
            fields.pop(secret)
        fields |= {"uptime": round(_uptime(record)), "alive": liveness.alive, "rtt": liveness.rtt}
        sessions.append(fields)
    print(json.dumps(sessions, indent=2))
    return 0


def _table() -> int:
    live = records.live()
    if not live:
        print("no live sessions")
    for record in live:
        liveness = probe(record) if record.role != "standby" else Liveness(None)
        alive = {True: f"answers in {liveness.rtt * 1000:.0f} ms", False: "does not answer", None: ""}[liveness.alive]
        bus = f"{_server(record)} {record.bus or '?'}"
        print(f"{record.target}  ({record.key or record.host})")
        parts = [f"pid {record.pid}", record.transport or "connecting", record.role or "starting", f"up {format_gap(_uptime(record))}"]
        print("  " + ", ".join(parts))
        print("  " + ", ".join(part for part in (f"bus {bus}", alive, _restarts(record)) if part))
        if record.held:
            print(f"  {record.held} URLs held: nssh status --held lists them, --open-held opens them")
        if record.problem:
            print(f"  problem: {record.problem}")
    return 0


def _restarts(record: Record) -> str:
    parts = []
    if record.restarts:
        parts.append(f"bridge restarted {record.restarts}×")
    if record.actor_restarts:
        parts.append(f"actors restarted {record.actor_restarts}×")
    return ", ".join(parts) or "no restarts"


def _server(record: Record) -> str:
    return "relay" if record.server == "relay" else record.server


def _held_paths() -> list[str]:
    directory = os.path.join(files.state_dir(), "topics")
    try:
        return sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".held"))
    except FileNotFoundError:
        return []


def _list_held() -> int:
    urls = [entry for path in _held_paths() for entry in held.read(path)]
    for entry in urls:
        when = datetime.fromtimestamp(entry.time, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        print(f"{when}  {_printable(entry.url)}")
    if not urls:
        print("nothing is held")
    return 0


def _printable(text: str) -> str:
    """URLs come from the remote: nothing of them may steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _open_held() -> int:
    from nssh.local import browser  # noqa: PLC0415 - only for this

    command = config.load().browser.command or None
    failed = 0
    for path in _held_paths():
        for entry in held.take(path):
            try:
                browser.open_url(entry.url, command=command)
            except ToolError as error:
                failed += 1
                held.add(path, entry)
                print(f"nssh: {error}", file=sys.stderr)
    return 1 if failed else 0


def _tail() -> int:
    """Follow the logs of all live sessions, those that start later included, until interrupted."""
    followed: dict[str, int] = {}
    first = True
    while True:
        for record in records.live():
            if record.log and record.log not in followed:
                # What is already there of the first ones is shown, too: it says how things came to be.
                followed[record.log] = 0
        for path, position in list(followed.items()):
            followed[path] = _show(path, position)
        if first and not followed:
            print("no live sessions; waiting for one (Ctrl-C ends)", file=sys.stderr)
        first = False
        # Half a second is live enough for a reader, and it ends at once when whoever reads our output is gone.
        if select.select([], [], [sys.stdout], 0.5)[2]:
            return 0


def _show(path: str, position: int) -> int:
    """Print what is new in a log; return the position reached. A log that was rotated is read from its start."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(position if position <= size else 0)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            for line in data[:whole].splitlines():
                print(_line(line), flush=True)
            return file.tell() - (len(data) - whole)
    except FileNotFoundError:
        return 0


def _line(line: bytes) -> str:
    try:
        fields = json.loads(line)
        when = str(fields.pop("ts")).partition("T")[2][:12]
        event = fields.pop("event")
    except (ValueError, KeyError, AttributeError):
        return _printable(line.decode("utf-8", "replace"))
    for noise in ("side", "pid"):
        fields.pop(noise, None)
    details = " ".join(f"{key}={value}" for key, value in fields.items())
    return _printable(f"{when} {event:<16} {details}")
