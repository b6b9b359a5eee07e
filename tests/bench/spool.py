"""A server's spool, filled without publishing: messages by one statement of SQL, attachments as files with holes."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FILE = 60 << 20
_TEXT = 4000
MESSAGES = 95_000
"""As many as the relay keeps, less some, so that it still takes more."""

_TOPICS = 5
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "


def plan(size: int) -> tuple[int, int]:
    """Return how many messages and attachments make up so many bytes."""
    messages = min(MESSAGES, size // (2 * _TEXT))
    return messages, max(0, size - messages * _TEXT) // _FILE


def fill_relay(directory: Path, size: int, now: int) -> None:
    """Fill the spool of a relay that was started there once and has ended; `now` is the time of all messages."""
    messages, files = plan(size)
    line = (
        f"""printf('{{"id":"m%011d","time":{now},"expires":{now + 43200},"event":"message","topic":"full%d","""
        f""""message":"%s"}}', i, i % {_TOPICS}, printf('%.*c', {_TEXT}, 'x'))"""
    )
    attachments = [(f"f{number:011d}", f"full{number % _TOPICS}", _FILE) for number in range(files)]
    with _opened(directory / "spool.db") as database:
        database.execute(
            f"{_NUMBERS.format(count=messages)}INSERT INTO messages (id, topic, time, line) "  # noqa: S608 - numbers of ours
            f"SELECT printf('m%011d', i), printf('full%d', i % {_TOPICS}), {now}, {line} FROM n"
        )
        database.executemany(
            "INSERT INTO messages (id, topic, time, line, file_type, file_size) VALUES (?, ?, ?, ?, 'image/png', ?)",
            [(name, topic, now, '{"event":"message"}', bytes_) for name, topic, bytes_ in attachments],
        )
    _sparse(directory / "files", [name for name, _, _ in attachments])


def fill_ntfy(directory: Path, size: int, now: int) -> None:
    """Fill the cache of an ntfy server that was started there once and has ended."""
    messages, files = plan(size)
    with _opened(directory / "cache.db") as database:
        columns = [row[1:5] for row in database.execute("PRAGMA table_info(messages)")]
        # What a version of ntfy has beyond these gets the plainest value that its type allows.
        values = {
            "mid": "printf('m%011d', i)", "topic": f"printf('full%d', i % {_TOPICS})", "time": str(now),
            "expires": str(now + 43200), "message": f"printf('%.*c', {_TEXT}, 'x')", "published": "1",
            "event": "'message'", "sequence_id": "printf('m%011d', i)",
        }  # fmt: skip
        names = [name for name, _, _, default in columns if name != "id" and (name in values or default is None)]
        blank = {name: "0" if kind.upper().startswith("INT") else "''" for name, kind, _, _ in columns}
        chosen = ", ".join(values.get(name, blank[name]) for name in names)
        database.execute(
            f"{_NUMBERS.format(count=messages)}INSERT INTO messages ({', '.join(names)}) SELECT {chosen} FROM n"  # noqa: S608
        )
        values |= {
            "mid": "printf('f%011d', i)", "attachment_name": "'clip.png'", "attachment_type": "'image/png'",
            "attachment_size": str(_FILE), "attachment_expires": str(now + 43200), "message": "'a file'",
            "attachment_url": "'http://127.0.0.1/file/x.png'", "sequence_id": "printf('f%011d', i)",
        }  # fmt: skip
        chosen = ", ".join(values.get(name, blank[name]) for name in names)
        if files:
            database.execute(
                f"{_NUMBERS.format(count=files)}INSERT INTO messages ({', '.join(names)}) SELECT {chosen} FROM n"  # noqa: S608
            )
    _sparse(directory / "attachments", [f"f{number:011d}" for number in range(1, files + 1)])


class _opened:  # noqa: N801 - used as a function
    """A database whose changes are kept, quickly, if nothing goes wrong."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("PRAGMA synchronous=OFF")
        return self._database

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._database.commit()
        self._database.close()


def _sparse(directory: Path, names: Sequence[str]) -> None:
    directory.mkdir(exist_ok=True, mode=0o700)
    for name in names:
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.ftruncate(fd, _FILE)
        os.close(fd)
