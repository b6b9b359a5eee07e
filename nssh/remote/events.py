"""Write the remote's event log (docs/protocol.md, "Events"): one JSON object a line, each appended by one write.

Lines are collected, and written after the work or while an answer is awaited. A log that can't be written is no error
for a shim. Payloads, topics, and paths and queries of URLs are never logged.
"""

from __future__ import annotations

import os
import time

from nssh.wire.quickjson import quote

MAX_SIZE = 1 << 20
"""Bytes after which the log is renamed to `log.jsonl.1`, replacing an earlier one."""


class Events:
    """The log of one shim's run.

    Args:
        directory: The state directory; nothing is logged if it does not exist.
        side: The persona.
    """

    def __init__(self, directory: str, side: str) -> None:
        self._path = os.path.join(directory, "log.jsonl")
        self._side = side
        self._lines: list[str] = []

    def add(self, event: str, **fields: str | int | list[str]) -> None:
        """Note an event with the present time, to be written by `flush`; empty and zero fields are left out."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        parts = ['"ts":"%s.%06dZ"' % (stamp, now % 1 * 1000000), '"event":%s' % quote(event)]
        parts += ['"side":%s' % quote(self._side), '"pid":%d' % os.getpid()]
        parts += ['"%s":%s' % (name, _value(value)) for name, value in fields.items() if value]
        self._lines.append("{%s}\n" % ",".join(parts))

    def flush(self) -> None:
        """Append the noted events to the file."""
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
            pass  # a full or read-only disk, or no session yet: the shim's own work must not fail because of that

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o600)
        try:
            if os.fstat(fd).st_size < MAX_SIZE:
                return fd
            import fcntl

            # Two shims may find the log full: under the lock, the second one sees that it has been renamed.
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
