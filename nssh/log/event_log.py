"""The event log: JSON lines with the events of docs/protocol.md, each one write, 0600, rotated by size."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from datetime import UTC, datetime

ROTATE_AT = 2 << 20
"""Bytes after which a log is moved to `<name>.1`, replacing the one before. Both together hold 10,000 messages."""

# Kept even when zero or false (docs/protocol.md, "Events"); other zero values are left out.
_KEPT = {"exit", "mosh"}


class EventLog:
    """Writes a session's log, as its only writer. For one thread."""

    def __init__(self, path: str, side: str = "session") -> None:
        self.path = path
        self._side = side
        self._lost = 0

    def write(self, event: str, fields: dict[str, object]) -> None:
        """Append an event. If the disk is full or read-only, the line is dropped; a later `log-lost` event counts them.

        Args:
            event: The event's name.
            fields: Its fields, all but those that every event has. Empty values are left out.
        """
        if self._lost:
            lost, self._lost = self._lost, 0
            self.write("log-lost", {"lines": lost})
            if self._lost:
                self._lost += lost
                return
        record: dict[str, object] = {
            "ts": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "event": event,
            "side": self._side,
            "pid": os.getpid(),
        }
        record.update((key, value) for key, value in fields.items() if value or key in _KEPT)
        line = json.dumps(record, default=str).encode() + b"\n"
        try:
            self._append(line)
        except OSError:
            self._lost += 1

    def _append(self, line: bytes) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            if os.write(fd, line) != len(line):
                os.ftruncate(fd, size)  # or the next line would continue this incomplete one
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        finally:
            os.close(fd)
        if size + len(line) > ROTATE_AT:
            with contextlib.suppress(OSError):  # the next write tries again
                os.replace(self.path, self.path + ".1")


def prune(directory: str, keep: float, in_use: set[str]) -> int:
    """Remove old logs, and return how many were removed. Files that can't be removed stay.

    Args:
        directory: The directory of the logs.
        keep: Seconds since the last write after which a log is removed.
        in_use: Paths of logs that stay, together with their `.1` and `.err` files.
    """
    removed = 0
    kept = {log + suffix for log in in_use for suffix in ("", ".1", ".err")}
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return 0
    for entry in entries:
        if entry.path in kept:
            continue
        with contextlib.suppress(OSError):  # another session removed it first, or the disk is read-only
            info = entry.stat(follow_symlinks=False)
            age = time.time() - info.st_mtime
            # Every session creates a file for tracebacks. An empty one is of no use after a day.
            empty = entry.name.endswith(".err") and info.st_size == 0 and age > 86400
            if (age > keep or empty) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                removed += 1
    return removed
