"""Runs `nssh status`: shows the live sessions and the URLs that were not opened. `nssh.log.tail` shows the events."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nssh.base.durations import format_gap
from nssh.base.errors import NsshError, ToolError
from nssh.base.printable import LONGEST, printable
from nssh.config import settings
from nssh.meeting import liveness
from nssh.state import held_urls, session_records
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.cli.command_options import StatusOptions
    from nssh.state.session_records import Record

# The fields of a record that `--json` prints (docs/protocol.md). The topic is left out: it is a secret, and the output
# may be shown to others.
_JSON_FIELDS = (
    "pid", "target", "host", "key", "server", "started", "log", "create_time", "role", "transport", "route", "bus",
    "bus_since", "bridge", "restarts", "actor_restarts", "held", "problem", "lost", "lost_at", "version",
)  # fmt: skip

# The two kinds of URLs that `--held` lists.
_FOUND = "found, not opened"
_HELD = f"{'held':<{len(_FOUND)}}"


def run(options: StatusOptions) -> int:
    """Run `nssh status` and return its exit code."""
    if options.json:
        return _json()
    if options.held:
        return _list_held()
    return _open_held() if options.open_held else _table()


def _uptime(record: Record) -> float:
    now = time.time()
    return max(0.0, now - session_records.timestamp(record.started, now))


def _ask_all() -> list[tuple[Record, liveness.Liveness]]:
    """Return the live sessions and their answers."""
    live = session_records.live()
    config = None
    if any(record.foreign for record in live):
        # They are pinged over the bus, whose credentials are in the configuration.
        try:
            config = settings.load()
        except NsshError as error:
            print(f"nssh: {printable(str(error), LONGEST)}", file=sys.stderr)
    return list(zip(live, liveness.probe_all(live, config), strict=True))


def _json() -> int:
    sessions: list[dict[str, Any]] = []
    for record, answer in _ask_all():
        fields: dict[str, Any] = {name: getattr(record, name) for name in _JSON_FIELDS}
        fields |= {"program": "go" if record.foreign else "nssh", "server": record.address}
        if record.foreign:
            fields["log"] = ""  # its name holds the topic
        fields |= {"uptime": round(_uptime(record)), "state": answer.state.value, "rtt": answer.rtt}
        fields["found"] = _found(record)
        fields["alive"] = None if answer.state is liveness.SessionState.UNKNOWN else answer.alive
        sessions.append(fields)
    print(json.dumps(sessions, indent=2))
    return 0


def _table() -> int:
    sessions = _ask_all()
    if not sessions:
        print("no live sessions")
    for record, answer in sessions:
        for line in _describe(record, answer):
            print(printable(line, LONGEST))
    return 0


def _describe(record: Record, answer: liveness.Liveness) -> list[str]:
    if record.foreign:
        return _describe_go(record, answer)
    role, transport = record.role or "starting", record.transport or "connecting"
    bus = f"bus {record.server} {record.bus}".rstrip()
    lines = [
        f"{record.target}  ({record.key or record.host})",
        f"  pid {record.pid}, {transport}, {role}, up {format_gap(_uptime(record))}",
        "  " + ", ".join(part for part in (bus, answer.text, _restarts(record)) if part),
    ]
    if waiting := _waiting(record.held, _found(record)):
        lines.append(f"  {waiting}")
    if record.problem:
        lines.append(f"  problem: {record.problem}")
    if record.lost and time.time() - session_records.timestamp(record.lost_at, 0.0) < session_records.LOST_TOLD:
        lines.append(f"  lost: {record.lost}")
    return lines


def _describe_go(record: Record, answer: liveness.Liveness) -> list[str]:
    """Describe a session of the Go program by what its record tells, and say what that does not."""
    began = session_records.timestamp(record.started, 0.0)
    since = f"up {format_gap(_uptime(record))}, since {_when(int(began))}" if began else "nobody knows since when"
    return [
        f"{record.target}  (the Go program's, host {record.host or 'unknown'})",
        f"  pid {record.pid}, {since}",
        f"  bus {record.address}, {answer.text}",
        "  its record does not tell user, port, transport, state of the bus and restarts",
    ]


def _found(record: Record) -> int:
    """Count the URLs that were found on a session's topic."""
    paths = [path for path in _held_paths() if record.serial and path.endswith(f".{record.serial}.held")]
    try:
        return sum(entry.found for path in paths for entry in held_urls.read(path))
    except OSError:
        return 0  # `--held` shows the error


def _waiting(held: int, found: int) -> str:
    """Say how many URLs wait for the user; empty if none does."""
    if not held:
        return f"{_urls(found)} found, not opened: nssh status --held lists them" if found else ""
    also = f", and {found} found" if found else ""
    return f"{_urls(held)} held{also}: nssh status --held lists them, --open-held opens the held ones"


def _urls(count: int) -> str:
    return f"{count} URL" if count == 1 else f"{count} URLs"


def _restarts(record: Record) -> str:
    parts = []
    if record.restarts:
        parts.append(f"bridge restarted {record.restarts}×")
    if record.actor_restarts:
        parts.append(f"actors restarted {record.actor_restarts}×")
    return ", ".join(parts) or "no restarts"


def _held_paths() -> list[str]:
    directory = os.path.join(files.state_dir(), "topics")
    try:
        return sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".held"))
    except FileNotFoundError:
        return []


def _list_held() -> int:
    urls = [entry for path in _held_paths() for entry in held_urls.read(path)]
    for entry in urls:
        print(f"{_when(entry.time)}  {_FOUND if entry.found else _HELD}  {printable(entry.url)}")
    if not urls:
        print("nothing is held")
    return 0


def _when(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:<16}"  # the server's time is out of range


def _open_held() -> int:
    from nssh.local import browser_launcher
    from nssh.local.callback_finder import find_callbacks

    command = settings.load().browser.command or None
    acting = {record.serial: record for record in session_records.live() if record.role == "leader" and record.socket}
    failed = 0
    for path in _held_paths():
        serial = path.removesuffix(".held").rpartition(".")[2]
        # One at a time: an interruption loses the URL that is being opened, and no other.
        for _ in held_urls.read(path):
            entry = held_urls.take(path)
            if entry is None:
                break
            try:
                url = browser_launcher.check_url(entry.url)
                if serial in acting and find_callbacks(url) and not liveness.expect(acting[serial], url):
                    del acting[serial]  # the session does not answer: don't wait for it again
                browser_launcher.open_url(entry.url, command=command)
            except ToolError as error:
                failed += 1
                if not isinstance(error, browser_launcher.UrlRefusedError):  # a refused URL is refused always
                    held_urls.add(path, entry)
                print(f"nssh: {printable(str(error))}", file=sys.stderr)
    return 1 if failed else 0
