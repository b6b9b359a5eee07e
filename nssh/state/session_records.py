"""Records of live sessions, `sessions/<pid>.json` in the state directory, as docs/protocol.md has them.

A record is written by the launcher before anything else is started, so that two nssh that start at the same moment see
each other, and from then on by the session's bridge; atomically, 0600. One whose process is gone, or is another process
by now, is removed by whoever reads it while nobody starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from typing import NamedTuple

from nssh.base import process
from nssh.ssh import control_path
from nssh.wire import files

_LIMIT = 64 * 1024

LOST_TOLD = 86400.0
"""Seconds for which it is told that something was lost: by then the user has seen it."""

# Seconds by which a process may be younger than its record says: Go's clock and the kernel's are rounded.
_ROUNDED = 2.0

# Seconds between two attempts to get the lock; who holds it is at work for milliseconds, or ends other sessions.
_LOCK_PAUSE = 0.02


class Record(NamedTuple):
    """One session. A record of the Go program has the first seven fields only."""

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
    bus_heard: float = 0.0
    """When the bus was last heard, by `nssh.base.clock.uptime`; of no meaning while it is up. 0 if it never was up."""
    bridge: int = 0
    serial: str = ""
    """The topic's serial, see `nssh.state.topics`."""
    restarts: int = 0
    actor_restarts: int = 0
    held: int = 0
    problem: str = ""
    version: str = ""
    lost: str = ""
    """The newest message of the remote that is lost, in words for the user; empty if none is."""
    lost_at: str = ""
    """When the loss was noticed, RFC 3339."""
    replaced_by: int = 0
    """PID of the session that ends this one; 0 if none does."""

    @property
    def live(self) -> bool:
        """Whether the session's process still runs."""
        return process.is_same(self.pid, self.birth) if self.birth else _is_older(self.pid, self.started)

    @property
    def foreign(self) -> bool:
        """Whether it is a record of the Go program, which has no birth, key and socket."""
        return not self.birth

    @property
    def address(self) -> str:
        """The server, for the user: without the credentials that the Go program takes in its URL."""
        scheme, separator, rest = self.server.partition("://")
        authority, slash, path = rest.partition("/")
        return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _is_older(pid: int, started: str) -> bool:
    """Whether a process is older than its record. If not, it is another process with the same PID."""
    if not process.birth(pid):
        return False
    import psutil

    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    return created <= timestamp(started, created) + _ROUNDED


def timestamp(started: str, default: float) -> float:
    """Return a record's `started` as seconds since the epoch; `default` if it is malformed."""
    from datetime import UTC, datetime

    try:
        when = datetime.fromisoformat(started)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return default


class Ignored(NamedTuple):
    """A file in the place of a record that can't be used."""

    name: str
    reason: str


def directory() -> str:
    """Return the directory of the records; create it (0700) if it is missing.

    Raises:
        OSError: The directory can't be created.
    """
    return files.make_private_dir(os.path.join(files.state_dir(), "sessions"))


def path_of(pid: int) -> str:
    """Return the path of a session's record."""
    return os.path.join(files.state_dir(), "sessions", f"{pid}.json")


def socket_of(pid: int) -> str:
    """Return the path of a session's control socket."""
    return os.path.join(files.state_dir(), "sessions", f"{pid}.sock")


def write(record: Record) -> None:
    """Write a record atomically.

    Raises:
        OSError: The state directory can't be written.
    """
    content = {name: value for name, value in record._asdict().items() if value or name in {"pid", "restarts"}}
    files.write_private(os.path.join(directory(), f"{record.pid}.json"), json.dumps(content).encode())


class StartLock:
    """A lock that a start holds while it looks for sessions and writes its own record, so that two see each other.

        with StartLock(): …

    Entering waits for the lock, unless its holder is suspended (Ctrl-Z, SIGSTOP) or the file system has no locks.

    Raises:
        OSError: The state directory can't be written.
    """

    def __enter__(self) -> None:
        self._fd = _open_lock()
        while not _lock(self._fd):
            holder = os.pread(self._fd, 20, 0).strip()
            if holder.isdigit() and process.is_stopped(int(holder)):
                return
            time.sleep(_LOCK_PAUSE)
        try:
            os.pwrite(self._fd, b"%-19d\n" % os.getpid(), 0)
        except OSError:
            pass  # a full disk: others then wait even if this process is suspended

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _open_lock() -> int:
    path = os.path.join(directory(), "lock")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: go on without
    return True


def read(path: str) -> Record | None:
    """Read a record; return None if it is missing or malformed."""
    found = _load(path)
    return found if isinstance(found, Record) else None


def _load(path: str) -> Record | str:
    """Read a record, or return the reason why it can't be used."""
    try:
        # O_NONBLOCK: opening a FIFO would block.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.strerror or type(error).__name__
    try:
        info = os.fstat(fd)
        if info.st_uid != os.geteuid() or not stat.S_ISREG(info.st_mode):
            return "not a file of your own"
        data = os.read(fd, _LIMIT + 1)
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        os.close(fd)
    return parse(data) or ("empty" if not data else "not a record")


def parse(data: bytes) -> Record | None:
    """Read a record's content; return None if it is malformed. Fields of a wrong type get their defaults."""
    try:
        content = json.loads(data) if len(data) <= _LIMIT else None
    except (ValueError, RecursionError):
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
    """Remove a session's record and control socket. Never raises."""
    # The socket first: after a crash between the two the record is left, and the next reader removes both.
    for path in (socket_of(pid), path_of(pid)):
        try:
            os.unlink(path)
        except OSError:
            pass  # a record that stays names a dead process, which readers notice


def live() -> list[Record]:
    """Return the records of live sessions, oldest first; stale ones are removed."""
    return survey()[0]


def survey() -> tuple[list[Record], list[Ignored]]:
    """Return the records of live sessions, oldest first, and the files that can't be used; stale ones are removed."""
    found: list[Record] = []
    ignored: list[Ignored] = []
    stale: list[int] = []
    try:
        names = os.listdir(os.path.join(files.state_dir(), "sessions"))
    except FileNotFoundError:
        return found, ignored
    for name in names:
        if (orphan := _orphan(name, names)) is not None:
            stale.append(orphan)
            continue
        stem = name.removesuffix(".json")
        if not name.endswith(".json") or not (stem.isascii() and stem.isdigit()) or str(int(stem)) != stem:
            continue
        record = _load(path_of(int(stem)))
        if isinstance(record, str):
            if process.birth(int(stem)):
                ignored.append(Ignored(name, record))
            else:
                stale.append(int(stem))
        elif record.pid == int(stem) and record.live:
            found.append(record)
        else:
            stale.append(int(stem))
    if stale:
        _remove_stale(stale)
    # Without the Z, times with a fraction of a second, as Go writes them, sort after the full second.
    return sorted(found, key=lambda record: record.started.removesuffix("Z")), ignored


def _orphan(name: str, names: list[str]) -> int | None:
    """Return the PID of a dead session that left a control socket without a record; otherwise None."""
    stem = name.removesuffix(".sock")
    if stem == name or not (stem.isascii() and stem.isdigit()) or f"{stem}.json" in names:
        return None
    return None if process.birth(int(stem)) else int(stem)


def _remove_stale(pids: list[int]) -> None:
    """Remove records, unless a session starts at this moment: it may have one of these PIDs, and a new record."""
    try:
        fd = _open_lock()
    except OSError:
        return  # the directory can't be written; readers ignore the stale records
    try:
        if _lock(fd):
            for pid in pids:
                record = read(path_of(pid))
                if record is None or record.pid != pid or not record.live:
                    remove(pid)
                    # A bridge that still runs makes its last delivery over that connection, and ends it itself.
                    if not process.birth(pid) and not (record and process.birth(record.bridge)):
                        control_path.end_abandoned(pid)
                        _remove_abandoned_logs()
    finally:
        os.close(fd)


def _remove_abandoned_logs() -> None:
    from nssh.ssh import log_fifo  # not needed before ssh, unless a session was killed

    log_fifo.remove_abandoned()
