"""The event log: JSON lines with the events of docs/protocol.md, each one write, 0600, rotated by size."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from datetime import UTC, datetime

ROTATE_AT = 2 << 20
"""Bytes after which a log is moved to `<name>.1`, in place of the one before; 10,000 messages fit both."""

# Kept even when zero or false (docs/protocol.md, "Events"); other zero values are left out.
_KEPT = {"exit", "mosh"}


class EventLog:
    """The one writer of a session's log; used by one thread."""

    def __init__(self, path: str, side: str = "session") -> None:
        self.path = path
        self._side = side
        self._lost = 0

    def write(self, event: str, fields: dict[str, object]) -> None:
        """Append an event. A disk that is full or read-only costs lines, never more; their number is told later."""
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
                os.ftruncate(fd, size)  # the next line would be glued to half a one
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        finally:
            os.close(fd)
        if size + len(line) > ROTATE_AT:
            with contextlib.suppress(OSError):  # the line is written; the next one tries again
                os.replace(self.path, self.path + ".1")


def prune(directory: str, keep: float, in_use: set[str]) -> int:
    """Remove logs that nobody has written to for `keep` seconds; return how many. What can't be removed stays.

    Args:
        directory: Where the logs are.
        keep: Seconds.
        in_use: Paths of logs that stay whatever their age, with what belongs to them (`.1`, `.err`).
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
        with contextlib.suppress(OSError):  # another session prunes too, or the disk is read-only
            info = entry.stat(follow_symlinks=False)
            age = time.time() - info.st_mtime
            # The file for tracebacks is made with every session; an empty one tells nothing once its session is over.
            empty = entry.name.endswith(".err") and info.st_size == 0 and age > 86400
            if (age > keep or empty) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                removed += 1
    return removed
