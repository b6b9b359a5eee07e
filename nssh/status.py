"""`nssh status`: the sessions of this machine, their events, and the URLs that wait for a decision."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from nssh import config, held, liveness, records
from nssh.durations import format_gap
from nssh.errors import ToolError
from nssh.printable import printable
from nssh.wire import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.records import Record


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
    now = time.time()
    return max(0.0, now - records.timestamp(record.started, now))


def _json() -> int:
    live = records.live()
    sessions: list[dict[str, Any]] = []
    for record, answer in zip(live, liveness.probe_all(live), strict=True):
        fields = record._asdict()
        # The topic is a secret; whoever needs it reads the record, which is as private as this terminal may not be.
        for secret in ("topic", "serial", "birth", "bridge_birth", "child_birth", "socket"):
            fields.pop(secret)
        fields |= {"uptime": round(_uptime(record)), "rtt": answer.rtt}
        fields["alive"] = None if answer.state is liveness.State.UNKNOWN else answer.alive
        fields["state"] = answer.state.value
        sessions.append(fields)
    print(json.dumps(sessions, indent=2))
    return 0


def _table() -> int:
    live = records.live()
    if not live:
        print("no live sessions")
    for record, answer in zip(live, liveness.probe_all(live), strict=True):
        for line in _describe(record, answer):
            print(printable(line))
    return 0


def _describe(record: Record, answer: liveness.Liveness) -> list[str]:
    role, transport = record.role or "starting", record.transport or "connecting"
    bus = f"bus {record.server} {record.bus or '?'}"
    lines = [
        f"{record.target}  ({record.key or record.host})",
        f"  pid {record.pid}, {transport}, {role}, up {format_gap(_uptime(record))}",
        "  " + ", ".join(part for part in (bus, answer.text, _restarts(record)) if part),
    ]
    if record.held:
        lines.append(f"  {record.held} URLs held: nssh status --held lists them, --open-held opens them")
    if record.problem:
        lines.append(f"  problem: {record.problem}")
    return lines


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
    urls = [entry for path in _held_paths() for entry in held.read(path)]
    for entry in urls:
        print(f"{_when(entry.time)}  {printable(entry.url)}")
    if not urls:
        print("nothing is held")
    return 0


def _when(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:<16}"  # a server may say anything


def _open_held() -> int:
    from nssh.local import browser

    command = config.load().browser.command or None
    failed = 0
    for path in _held_paths():
        # One after the other: an interruption costs the one that is being opened, and the others stay.
        for _ in held.read(path):
            entry = held.take(path)
            if entry is None:
                break
            try:
                browser.open_url(entry.url, command=command)
            except ToolError as error:
                failed += 1
                if not isinstance(error, browser.UrlRefusedError):  # that would be refused another time, too
                    held.add(path, entry)
                print(f"nssh: {printable(str(error))}", file=sys.stderr)
    return 1 if failed else 0


def _tail() -> int:
    """Follow the logs of all live sessions, those that start later included, until interrupted."""
    logs: dict[str, _Log] = {}
    first = True
    while True:
        live = {record.log for record in records.live() if record.log}
        for path in live:
            # What is already there of the first ones is shown, too: it says how things came to be.
            logs.setdefault(path, _Log(path))
        for path, log in list(logs.items()):
            for line in log.read():
                print(_line(line))
            if path not in live:
                logs.pop(path).close()
        sys.stdout.flush()
        if first and not logs:
            print("no live sessions; waiting for one (Ctrl-C ends)", file=sys.stderr)
        first = False
        # Half a second is live enough for a reader.
        if _pause(0.5):
            return 0


def _pause(seconds: float) -> bool:
    """Wait; return True, at once, if whoever reads our output is gone."""
    if sys.stdout.isatty():
        time.sleep(seconds)  # SIGHUP tells; and some systems can't poll a terminal
        return False
    poller = select.poll()
    poller.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(seconds * 1000))


class _Log:
    """A log that is followed through its rotations."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._position = 0

    def read(self) -> list[bytes]:
        """Return the lines that are new and whole."""
        lines: list[bytes] = []
        while self._open():
            lines += self._rest()
            if not self._was_rotated():
                break
            lines += self._rest()  # what was written between the two looks
            self.close()
        return lines

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        if self._file is None:
            try:
                self._file = open(self._path, "rb")  # noqa: SIM115 - kept open: the file is to be found after a rotation
            except OSError:
                return False
            self._position = 0
        return True

    def _rest(self) -> list[bytes]:
        if self._file is None:
            return []
        self._file.seek(self._position)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        self._position += whole
        return data[:whole].split(b"\n")[:-1]

    def _was_rotated(self) -> bool:
        """Whether the log goes on in another file, and that is there already."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except OSError:
            return False


def _line(line: bytes) -> str:
    try:
        fields = json.loads(line)
        when = str(fields.pop("ts")).partition("T")[2][:12]
        event = str(fields.pop("event"))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return printable(line.decode("utf-8", "replace"))
    for noise in ("side", "pid"):
        fields.pop(noise, None)
    details = " ".join(f"{key}={value}" for key, value in fields.items())
    return printable(f"{when} {event:<16} {details}")
