"""Record on disk what of a topic was handled, cursor and ids, so that nothing takes effect twice after a crash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Final

from nssh.bus.losses import Reach
from nssh.bus.messages import valid_id
from nssh.wire.files import write_private

RING: Final = 45_000
"""The number of ids that are remembered; the oldest is forgotten first.

A message may have two: that of the bus and that of its envelope. The relay keeps at most 20,000 messages of a topic,
and ntfy takes 17,280 a day by default.
"""

_HANDLED, _CURSOR, _REACH, _LOST, _TOPIC = "h", "c", "r", "l", "t"
_END = ";\n"
_MAX_FILE: Final = 32 << 20
_RETRY_SECONDS: Final = 1.0


class Ledger:
    """The durable state of a target's topics: handled ids, what was lost; cursor and reach of the present topic.

    The file is a journal with one record a line. Each record is appended by one write and counts only with its end, so
    that a process killed at any moment loses at most the record it was writing. After a loss of power the last records
    may be missing. The journal is rewritten, atomically, when it is loaded and when it has grown long.

    Only the holder of the topic's lease may use it, from any thread; a session that takes the lease over calls `load`.

    A disk that fails does not stop the bridge: the state is kept in memory, `failure` holds the error, and writing is
    tried again each second.
    """

    def __init__(self, path: str, *, ring: int = RING) -> None:
        """Keep the path; the file is read at the first use, and its directory has to exist by then.

        Args:
            path: The journal, 0600. A damaged one is moved to `<path>.damaged`.
            ring: The number of ids to remember.
        """
        self._path = path
        self._ring = ring
        self._lock = threading.RLock()
        self._fd = -1
        self._loaded = False
        self._handled: dict[str, None] = {}
        self._cursor: str | None = None
        self._anchor: str | None = None
        self._reach = Reach()
        self._lost: tuple[int, str] | None = None
        self._topic = ""
        self._records = 0
        self._retry_at = 0.0
        self.failure: OSError | None = None
        """Why the state is not on disk at present; None if it is."""
        self.damaged = False
        """Whether the last `load` found a damaged file; it kept the records that could be read."""

    def load(self) -> None:
        """Replace the state in memory by that of the file."""
        with self._lock:
            self._close()
            self._handled, self._cursor, self.damaged, self.failure = {}, None, False, None
            self._anchor, self._reach, self._lost, self._topic = None, Reach(), None, ""
            try:
                self._read()
            except FileNotFoundError:
                pass  # a fresh topic
            except OSError:
                self.damaged = True  # can't be opened: a symlink, a directory, another user's
            if self.damaged:
                with contextlib.suppress(OSError):  # then `_rewrite` replaces it
                    Path(self._path).replace(f"{self._path}.damaged")
            self._loaded = True
            self._remove_remnants()
            self._rewrite()

    def follow(self, topic: str) -> None:
        """Say of which topic the cursor and the reach are. If they are of another one, they are forgotten."""
        key = _hash(topic)
        with self._loaded_lock():
            if key != self._topic:
                self._topic, self._cursor, self._anchor, self._reach = key, None, None, Reach()
                self._append(_TOPIC, key)

    def adopt(self, path: str) -> None:
        """Claim what another ledger has claimed, and remove its file. The holder of its lease must have ended."""
        other = Ledger(path, ring=self._ring)
        with contextlib.suppress(FileNotFoundError), self._loaded_lock():
            other._read()
            self.claim(*other._handled)
            Path(path).unlink()

    @property
    def cursor(self) -> str | None:
        """The id of the last message up to which all were handled; None on a fresh topic."""
        with self._loaded_lock():
            return self._cursor

    @property
    def anchor(self) -> str | None:
        """The cursor before this one; None if the cursor was moved less than twice."""
        with self._loaded_lock():
            return self._anchor

    def set_cursor(self, message_id: str) -> None:
        """Move the cursor to a message id."""
        with self._loaded_lock():
            key = _key(message_id)
            if key != self._cursor:
                self._anchor, self._cursor = self._cursor, key
                self._append(_CURSOR, key)

    @property
    def reach(self) -> Reach:
        """How far the topic was followed, as `set_reach` was last told."""
        with self._loaded_lock():
            return self._reach

    def set_reach(self, reach: Reach) -> None:
        """Record how far the topic was followed."""
        with self._loaded_lock():
            if reach != self._reach:
                self._reach = reach
                self._append(_REACH, _words(reach))

    @property
    def lost(self) -> tuple[int, str] | None:
        """When a loss was last noticed (seconds since the epoch) and the line about it; None if there was none."""
        with self._loaded_lock():
            return self._lost

    def set_lost(self, at: int, text: str) -> None:
        """Record a loss: when it was noticed (seconds since the epoch), and one line of ASCII about it."""
        with self._loaded_lock():
            self._lost = (at, text)
            self._append(_LOST, _words(self._lost))

    def seen(self, any_id: str) -> bool:
        """Return whether `claim` was called with this id."""
        with self._loaded_lock():
            return _key(any_id) in self._handled

    def claim(self, *ids: str) -> bool:
        """Record ids, of a message or an envelope; return whether the first of them is new, False ever after.

        When this returns, the record survives the death of the process. So an id is claimed before an action that must
        not happen twice, and after one that may.
        """
        with self._loaded_lock():
            keys = list(map(_key, ids))
            fresh = [key for key in dict.fromkeys(keys) if key not in self._handled]
            if fresh:
                for key in fresh:
                    self._remember(key)
                self._append(_HANDLED, *fresh)
            return fresh[:1] == keys[:1]

    def close(self) -> None:
        """Close the file; the next use loads it again."""
        with self._lock:
            self._close()
            self._loaded = False

    def _loaded_lock(self) -> threading.RLock:
        with self._lock:
            if not self._loaded:
                self.load()
        return self._lock

    def _read(self) -> None:
        fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            data = file.read(_MAX_FILE + 1)
        self.damaged = len(data) > _MAX_FILE
        for line in data.split(b"\n"):
            kind, _, rest = line.decode("ascii", "replace").partition(" ")
            key = rest[:-1]
            if not line.endswith(b";"):
                # A record without its end was cut off by the death of the process or by a full disk.
                self.damaged |= len(line) > 200 or not line.isascii() or b"\0" in line
            elif kind == _HANDLED and valid_id(key):
                self._remember(key)
            elif kind == _CURSOR and valid_id(key):
                self._anchor, self._cursor = self._cursor, key
            elif kind == _REACH and (reach := _parse_reach(key)) is not None:
                self._reach = reach
            elif kind == _TOPIC and valid_id(key):
                self._topic, self._cursor, self._anchor, self._reach = key, None, None, Reach()
            elif kind == _LOST and (lost := _parse_lost(key)) is not None:
                self._lost = lost
            else:
                self.damaged = True

    def _remember(self, key: str) -> None:
        self._handled[key] = None
        if len(self._handled) > self._ring:
            del self._handled[next(iter(self._handled))]

    def _append(self, kind: str, *values: str) -> None:
        """Write records of one kind, in one piece."""
        record = "".join([f"{kind} {value}{_END}" for value in values]).encode()
        if self.failure is None and self._records < 2 * self._ring + 1000:
            self._records += len(values)
            try:
                written = os.write(self._fd, record)
            except OSError as error:
                self._fail(error)
            else:
                # A short write leaves a record without its end, which `_rewrite` removes.
                if written != len(record):
                    self._fail(OSError(28, os.strerror(28)))
        elif time.monotonic() >= self._retry_at:
            self._rewrite()

    def _fail(self, error: OSError) -> None:
        self.failure = error
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _remove_remnants(self) -> None:
        """Remove what processes have left that were killed while they wrote the file; now it is this one's."""
        path = Path(self._path)
        with contextlib.suppress(OSError):  # it may not be there yet, or not be ours to change
            for file in path.parent.iterdir():
                if file.name.startswith(f"{path.name}.") and file.suffix == ".tmp":
                    file.unlink(missing_ok=True)

    def _rewrite(self) -> None:
        """Write the whole state to a new file, and append to that from now on."""
        lines = [f"{_HANDLED} {key}{_END}" for key in self._handled]
        if self._topic:
            lines.append(f"{_TOPIC} {self._topic}{_END}")
        lines += [f"{_CURSOR} {key}{_END}" for key in (self._anchor, self._cursor) if key is not None]
        if self._reach != Reach():
            lines.append(f"{_REACH} {_words(self._reach)}{_END}")
        if self._lost is not None:
            lines.append(f"{_LOST} {_words(self._lost)}{_END}")
        try:
            write_private(self._path, "".join(lines).encode())
            self._close()
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            self._fail(error)
        else:
            self.failure, self._records = None, len(lines)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _words(values: tuple[object, ...]) -> str:
    return " ".join(map(str, values))


def _parse_reach(text: str) -> Reach | None:
    words = text.split(" ")
    plain = all(word.isascii() and word.isdigit() and len(word) < 16 for word in words)
    return Reach(*map(int, words)) if plain and len(words) == len(Reach._fields) else None


def _parse_lost(text: str) -> tuple[int, str] | None:
    at, _, what = text.partition(" ")
    return (int(at), what) if at.isascii() and at.isdigit() and len(at) < 16 and what.isprintable() else None


def _key(any_id: str) -> str:
    """Return the key of an id in the file: the id itself, or a hash of one with other characters than an id has."""
    return any_id if valid_id(any_id) else _hash(any_id)


def _hash(text: str) -> str:
    return "sha256-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
