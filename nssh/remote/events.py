"""The remote's event log (docs/protocol.md, "Events"): one JSON object a line, each line one append.

Lines are gathered and written when there is time, after the work or while an answer is awaited. A log that can't be
written never fails a shim. No payload, no topic, no path or query of a URL ever goes into it.
"""

from __future__ import annotations

import os
import time

from nssh.wire.quickjson import quote

MAX_SIZE = 1 << 20
"""Bytes after which a log is set aside as `log.jsonl.1`, replacing the one before."""


class Events:
    """The log of one shim's run.

    Args:
        directory: The state directory; without one, nothing is logged.
        side: The persona.
    """

    def __init__(self, directory: str, side: str) -> None:
        self._path = os.path.join(directory, "log.jsonl")
        self._side = side
        self._lines: list[str] = []

    def add(self, event: str, **fields: str | int | list[str]) -> None:
        """Note an event now, to be written by `flush`; empty and zero fields are left out."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        parts = ['"ts":"%s.%06dZ"' % (stamp, now % 1 * 1000000), '"event":%s' % quote(event)]
        parts += ['"side":%s' % quote(self._side), '"pid":%d' % os.getpid()]
        parts += ['"%s":%s' % (name, _value(value)) for name, value in fields.items() if value]
        self._lines.append("{%s}\n" % ",".join(parts))

    def flush(self) -> None:
        """Append what was noted."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            fd = self._open()
            try:
                for line in lines:
                    os.write(fd, line.encode("ascii"))
            finally:
                os.close(fd)
        except OSError:
            pass  # a full or read-only disk, or no session yet: the user's command matters more than its record

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o600)
        try:
            if os.fstat(fd).st_size < MAX_SIZE:
                return fd
            import fcntl

            # Two shims may find it full: the second one sees, under the lock, that the name has gone to another file.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                os.rename(self._path, self._path + ".1")
            fresh = os.open(self._path, flags, 0o600)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return fresh


def _value(value: str | int | list[str]) -> str:
    if isinstance(value, int):
        return "%d" % value
    if isinstance(value, list):
        return "[%s]" % ",".join(map(quote, value))
    return quote(value)
