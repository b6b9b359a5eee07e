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
    serial: str = ""
    """Of the topic's file, see `nssh.state.topics`."""
    restarts: int = 0
    actor_restarts: int = 0
    held: int = 0
    problem: str = ""
    version: str = ""
    lost: str = ""
    """What the remote sent and nobody can have any more: the newest such thing."""
    lost_at: str = ""
    """When that was noticed, RFC 3339."""
    replaced_by: int = 0
    """PID of the session that is ending this one."""

    @property
    def live(self) -> bool:
        """Whether the session's process still runs."""
        return process.is_same(self.pid, self.birth) if self.birth else _is_older(self.pid, self.started)

    @property
    def foreign(self) -> bool:
        """Whether it is the Go program's, which tells no birth, no key and no socket."""
        return not self.birth


def _is_older(pid: int, started: str) -> bool:
    """Whether a process was there when its record was written: one that took over the PID since then was not."""
    if not process.birth(pid):
        return False
    import psutil

    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    return created <= timestamp(started, created) + _ROUNDED


def timestamp(started: str, default: float) -> float:
    """Return what a record's `started` means, seconds since the epoch; `default` if it is no time."""
    from datetime import UTC, datetime

    try:
        when = datetime.fromisoformat(started)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return default


class Ignored(NamedTuple):
    """A file that should have been a record, and is not used."""

    name: str
    reason: str


def directory() -> str:
    """Return the directory of the records, created 0700 if need be.

    Raises:
        OSError: It can't be made.
    """
    return files.make_private_dir(os.path.join(files.state_dir(), "sessions"))


def path_of(pid: int) -> str:
    """Return where the record of a session is."""
    return os.path.join(files.state_dir(), "sessions", f"{pid}.json")


def socket_of(pid: int) -> str:
    """Return where the control socket of a session is."""
    return os.path.join(files.state_dir(), "sessions", f"{pid}.sock")


def write(record: Record) -> None:
    """Write a record atomically.

    Raises:
        OSError: The state directory can't be written.
    """
    content = {name: value for name, value in record._asdict().items() if value or name in {"pid", "restarts"}}
    files.write_private(os.path.join(directory(), f"{record.pid}.json"), json.dumps(content).encode())


class StartLock:
    """Keeps other starts out: whoever looks for sessions and adds one of its own holds this meanwhile.

        with StartLock(): …

    It is not waited for where its holder was suspended (Ctrl-Z, SIGSTOP), or the file system knows no locks.

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
            pass  # a full disk: who waits for us can't see then that we were suspended

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
        pass  # a file system without locks: as good as it gets
    return True


def read(path: str) -> Record | None:
    """Read a record; None if it is missing or no record at all."""
    found = _load(path)
    return found if isinstance(found, Record) else None


def _load(path: str) -> Record | str:
    """Read a record, or say why it is none."""
    try:
        # O_NONBLOCK: a FIFO must not hang us.
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
    """Read a record's content; None if it is no record."""
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
    """Remove a session's record and control socket, if they are there and their directory lets us."""
    # The socket first: whoever dies between the two leaves a record, which the next one removes.
    for path in (socket_of(pid), path_of(pid)):
        try:
            os.unlink(path)
        except OSError:
            pass  # what stays names a process that is gone: whoever reads it knows, and no session's end fails by it


def live() -> list[Record]:
    """Return the records of live sessions, oldest first; stale ones are removed."""
    return survey()[0]


def survey() -> tuple[list[Record], list[Ignored]]:
    """Return the records of live sessions, oldest first, and what is no record; stale ones are removed."""
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
    # Fractions of a second, as Go writes them, sort behind their second once the Z is gone.
    return sorted(found, key=lambda record: record.started.removesuffix("Z")), ignored


def _orphan(name: str, names: list[str]) -> int | None:
    """Return the PID of a session whose bridge was killed behind the removal of its record: its socket is there."""
    stem = name.removesuffix(".sock")
    if stem == name or not (stem.isascii() and stem.isdigit()) or f"{stem}.json" in names:
        return None
    return None if process.birth(int(stem)) else int(stem)


def _remove_stale(pids: list[int]) -> None:
    """Remove records, unless somebody starts at this moment: it may have one of these PIDs, and has written its own."""
    try:
        fd = _open_lock()
    except OSError:
        return  # a directory that can't be changed: they are not trusted, whoever reads them
    try:
        if _lock(fd):
            for pid in pids:
                record = read(path_of(pid))
                if record is None or record.pid != pid or not record.live:
                    remove(pid)
                    # A bridge that is still there is at its last delivery, over that connection, and will end it.
                    if not process.birth(pid) and not (record and process.birth(record.bridge)):
                        control_path.end_abandoned(pid)
    finally:
        os.close(fd)
