"""Store the spool: messages in SQLite, attachments in files; what is stored survives the death of the process.

With WAL and synchronous=NORMAL the kernel has a commit before the message is acknowledged, so SIGKILL loses nothing. A
crash of the machine may lose the last messages; an fsync for each would cost most of the throughput.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
import time

from nssh.relay.message import is_id, new_id, render
from nssh.wire import CONTENT_LIMIT
from nssh.wire.files import make_private_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.relay.message import Since

MAX_FILES = 500 << 20
MAX_TOPIC_MESSAGES = 20_000
MAX_MESSAGES = 100_000
ANSWERED = 60.0
"""Seconds after which the answer to a clipboard read is of no use, and its file may be removed to make room."""
# This text stands only in a line whose message is such an envelope: in any other string the quotes are escaped again.
_ANSWER = '\\"kind\\":\\"clip-read-response\\"'
_BATCH_BYTES = 1 << 20
_BATCH_ROWS = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    time INTEGER NOT NULL,
    line TEXT NOT NULL,
    file_type TEXT,
    file_size INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS messages_topic ON messages (topic, seq);
CREATE INDEX IF NOT EXISTS messages_time ON messages (time);
CREATE INDEX IF NOT EXISTS messages_file ON messages (id, file_size) WHERE file_type IS NOT NULL;
"""


class TooLargeError(Exception):
    """The attachment, or all attachments together, would exceed the limit."""


class TooManyError(Exception):
    """The topic or the spool is full of messages."""


class DiskError(Exception):
    """The disk is full or fails; nothing was stored. The text tells which, and names no file."""


class StoreError(Exception):
    """The spool can't be opened."""


class IncomingFile:
    """An attachment that is being received, for one thread; `Store.publish` makes it visible."""

    def __init__(self, store: Store, id: str, fd: int) -> None:  # noqa: A002  (the wire's name)
        self.id = id
        self.size = 0
        self._store = store
        self._fd = fd

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            TooLargeError, DiskError: The caller has to call `abort`.
        """
        self._store.reserve(len(data), self.size + len(data))
        self.size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _disk_error(error) from error

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def abort(self) -> None:
        """Remove the file."""
        self.close()
        self._store.discard(self)


class Store:
    """The spool in `directory`; every method may be called from any thread.

    Args:
        directory: Created 0700 if missing.
        retention: Seconds for which messages and attachments are kept.
        max_files: The most bytes of all attachments together.

    Raises:
        StoreError: The directory or a file in it can't be used (a symlink, another user's, a full disk).
    """

    def __init__(self, directory: str, retention: float, max_files: int = MAX_FILES) -> None:
        self.retention = retention
        self._max_files = max_files
        self._lock = threading.Lock()
        try:
            self._begin(directory)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(str(error)) from error

    def _begin(self, directory: str) -> None:
        make_private_dir(directory)
        files = make_private_dir(os.path.join(directory, "files"))
        self._files = os.open(files, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        path = os.path.join(directory, "spool.db")
        try:
            self._open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, full or not readable: the file itself may be well
            # The file is no database any more: keep it aside, and serve with a new one.
            self._db.close()
            os.replace(path, path + ".bad")
            for suffix in ("-wal", "-shm"):
                _unlink_if_there(path + suffix)
            self._open(path)
        self._load()

    def _open(self, path: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            _check_regular(path + suffix)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        # Exclusive, because the daemon's lock makes us the only user anyway; WAL then needs no shared memory file.
        # synchronous=OFF while the file is created: it holds nothing of value yet, and need not wait for the disk.
        for pragma in ("locking_mode=EXCLUSIVE", "synchronous=OFF", "auto_vacuum=INCREMENTAL", "journal_mode=WAL"):
            self._db.execute("PRAGMA " + pragma).close()
        self._db.executescript(_SCHEMA)
        self._db.execute("PRAGMA synchronous=NORMAL").close()

    def _load(self) -> None:
        self._last = int(self._db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()[0])
        self._counts = dict(self._db.execute("SELECT topic, count(*) FROM messages GROUP BY topic"))
        self._messages = sum(self._counts.values())
        # The partial index answers this: reading 400 MB of messages would take 40 ms.
        sizes: dict[str, int] = dict(self._db.execute("SELECT id, file_size FROM messages WHERE file_type IS NOT NULL"))
        self._bytes = sum(sizes.values())
        for name in os.listdir(self._files):  # uploads that a crash has interrupted
            if name not in sizes:
                os.unlink(name, dir_fd=self._files)

    def close(self) -> None:
        """Close the spool; later calls of other methods raise sqlite3.ProgrammingError."""
        with self._lock:
            self._db.close()
            os.close(self._files)

    @property
    def last(self) -> int:
        """The sequence number of the newest message."""
        return self._last

    def upload(self) -> IncomingFile:
        """Begin an attachment.

        Raises:
            DiskError: The file can't be created.
        """
        name = new_id()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return IncomingFile(self, name, os.open(name, flags, 0o600, dir_fd=self._files))
        except OSError as error:
            raise _disk_error(error) from error

    def reserve(self, more: int, size: int = 0) -> None:
        """Reserve `more` bytes for an attachment that has `size` bytes with them.

        Raises:
            TooLargeError: The attachment or all attachments together would be too large.
        """
        with self._lock:
            if size > CONTENT_LIMIT or more > self._max_files:
                raise TooLargeError
            if self._bytes + more > self._max_files and not self._make_room(more):
                raise TooLargeError
            self._bytes += more

    def _make_room(self, more: int) -> bool:
        """Remove files of old answers, the oldest first; their messages stay, because a cursor may point to one."""
        rows = self._db.execute(
            "SELECT seq, id, file_size FROM messages WHERE file_size > 0 AND time < ? AND instr(line, ?) ORDER BY seq",
            (time.time() - ANSWERED, _ANSWER),
        ).fetchall()
        for seq, identity, size in rows:
            if self._bytes + more <= self._max_files:
                break
            self._db.execute("UPDATE messages SET file_size = 0 WHERE seq = ?", (seq,)).close()
            _unlink_if_there(identity, self._files)
            self._bytes -= size
        return self._bytes + more <= self._max_files

    def discard(self, upload: IncomingFile) -> None:
        """Remove an attachment that was not published."""
        with self._lock:
            self._bytes -= upload.size
            os.unlink(upload.id, dir_fd=self._files)

    def publish(self, topic: str, text: str, upload: IncomingFile | None = None, name: str = "", kind: str = "") -> str:
        """Store a message, durably, and return its JSON line.

        Args:
            topic: The topic.
            text: The message.
            upload: The attachment, which is closed already, or None; it belongs to the message from now on.
            name: The attachment's file name as the publisher gave it.
            kind: The attachment's content type and extension, `type|.ext`.

        Raises:
            TooManyError, DiskError: Nothing was stored; the caller has to abort the upload.
        """
        now = int(time.time())
        file_type, _, extension = kind.partition("|")
        with self._lock:
            if self._counts.get(topic, 0) >= MAX_TOPIC_MESSAGES or self._messages >= MAX_MESSAGES:
                raise TooManyError
            while True:
                identity = upload.id if upload else new_id()
                fields: dict[str, str | int | dict[str, str | int]] = {
                    "id": identity,
                    "time": now,
                    "expires": now + int(self.retention),
                    "event": "message",
                    "topic": topic,
                    "message": text,
                }
                if upload:
                    attachment: dict[str, str | int] = {"name": name, "type": file_type}
                    if upload.size:
                        attachment["size"] = upload.size
                    attachment["expires"] = now + int(self.retention)
                    attachment["url"] = "http://localhost/file/%s%s" % (identity, extension)
                    fields["attachment"] = attachment
                line = render(fields)
                row = (identity, topic, now, line, file_type if upload else None, upload.size if upload else 0)
                try:
                    self._insert(row)
                except sqlite3.IntegrityError:  # the id exists: one chance in 10^21
                    if upload:
                        raise DiskError("the attachment's id is taken") from None
                    continue
                break
            self._counts[topic] = self._counts.get(topic, 0) + 1
            self._messages += 1
            return line

    def _insert(self, row: tuple[str, str, int, str, str | None, int]) -> None:
        try:
            cursor = self._db.execute(
                "INSERT INTO messages (id, topic, time, line, file_type, file_size) VALUES (?, ?, ?, ?, ?, ?)", row
            )
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK").close()
            raise DiskError("the relay's disk is full or fails: %s" % error) from error
        self._last = int(cursor.lastrowid or 0)
        cursor.close()

    def start_of(self, since: Since, topic: str) -> int:
        """Return the sequence number after which a replay starts; 0, which means everything, for an unknown id."""
        if since.kind == "none":
            return self._last
        with self._lock:
            if since.kind == "id":
                row = self._db.execute("SELECT seq FROM messages WHERE id = ?", (since.id,)).fetchone()
                return int(row[0]) if row else 0
            if since.kind == "latest":
                row = self._db.execute("SELECT max(seq) FROM messages WHERE topic = ?", (topic,)).fetchone()
                return int(row[0] or 1) - 1
            return 0

    def fetch(self, topic: str, after: int, upto: int, not_before: float = 0.0) -> tuple[list[str], int, bool]:
        """Return a batch of a topic's lines in order of acceptance, the next `after`, and whether there may be more.

        Args:
            topic: The topic.
            after: Lines behind this sequence number are returned.
            upto: Lines up to this sequence number are returned.
            not_before: Unix time; older messages are left out.
        """
        lines: list[str] = []
        size = 0
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, line FROM messages WHERE topic = ? AND seq > ? AND seq <= ? AND time >= ? ORDER BY seq",
                (topic, after, upto, not_before),
            )
            for seq, line in rows:
                lines.append(line)
                after = seq
                size += len(line)
                if size >= _BATCH_BYTES or len(lines) >= _BATCH_ROWS:
                    rows.close()
                    return lines, after, True
        return lines, upto, False

    def open_file(self, identity: str) -> tuple[int, str, int] | None:
        """Return descriptor, content type and size (bytes) of an attachment, or None; the caller closes it."""
        if not is_id(identity):
            return None
        with self._lock:
            row = self._db.execute(
                "SELECT file_type, file_size FROM messages WHERE id = ? AND file_type IS NOT NULL", (identity,)
            ).fetchone()
            if row is None:
                return None
            try:
                fd = os.open(identity, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._files)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ELOOP}:
                    return None
                raise
        return fd, str(row[0]), int(row[1])

    def purge(self, now: float) -> int:
        """Delete at most 5000 messages that are older than the retention; return their number."""
        with self._lock:
            limit = now - self.retention
            rows = self._db.execute(
                "SELECT seq, id, topic, file_type, file_size FROM messages WHERE time < ? ORDER BY seq LIMIT 5000",
                (limit,),
            ).fetchall()
            if not rows:
                return 0
            self._db.execute("BEGIN").close()
            try:
                self._db.executemany("DELETE FROM messages WHERE seq = ?", [(row[0],) for row in rows])
                self._db.execute("COMMIT").close()
            except sqlite3.Error:
                self._db.execute("ROLLBACK").close()
                raise
            for _, identity, topic, file_type, file_size in rows:
                self._messages -= 1
                self._counts[topic] -= 1
                if not self._counts[topic]:
                    del self._counts[topic]
                if file_type is not None:
                    self._bytes -= file_size
                    _unlink_if_there(identity, self._files)
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            return len(rows)


def _check_regular(path: str) -> None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "not a regular file of your own", path)


def _unlink_if_there(path: str, dir_fd: int | None = None) -> None:
    try:
        os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return


def _disk_error(error: OSError) -> DiskError:
    return DiskError("the relay's disk is full or fails: %s" % (error.strerror or "write error"))
