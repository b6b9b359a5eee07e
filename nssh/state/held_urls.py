"""Stores URLs that arrived too late to be opened unasked; `nssh status --open-held` opens them.

Each topic has a file with one URL a line. Writers lock it, so that a session can add a URL while the user opens others.
Readers need no lock: a line counts only once it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from nssh.wire.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT = 1 << 20
"""Bytes of one file, so that a remote can't fill the disk."""


class HeldUrl(NamedTuple):
    """A URL, and when it was sent in seconds since the epoch, by the server's clock."""

    url: str
    time: int


def add(path: str, held: HeldUrl) -> bool:
    """Append a URL to a topic's file, created 0600; one that is there is not added again (a repeat after a crash).

    Returns:
        False if the file is full (1 MiB), so that the URL is not stored.

    Raises:
        OSError: The state directory can't be written.
    """
    with _locked(path, create=True) as fd:
        content = _content(fd)
        line = _line(held)
        if b"\n" + line in b"\n" + content:
            return True
        if content and not content.endswith(b"\n"):
            line = b"\n" + line  # a crash left an incomplete line before
        if len(content) + len(line) > _LIMIT:
            return False
        if os.pwrite(fd, line, len(content)) != len(line):
            os.ftruncate(fd, len(content))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return True


def read(path: str) -> list[HeldUrl]:
    """Return the URLs of a topic's file in the order of their arrival. Malformed lines are passed over.

    Raises:
        OSError: The file is there and can't be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return _parse(_content(fd))
    finally:
        os.close(fd)


def take(path: str) -> HeldUrl | None:
    """Remove and return the first URL of a topic's file; None if there is none. Two callers never get the same one.

    Raises:
        OSError: The file can't be read or written.
    """
    try:
        with _locked(path, create=False) as fd:
            found = _parse(_content(fd))
            if not found:
                return None
            if len(found) == 1:
                os.unlink(path)
            else:
                write_private(path, b"".join(_line(held) for held in found[1:]))
            return found[0]
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _locked(path: str, *, create: bool) -> Iterator[int]:
    """Open a topic's file and wait for its lock, which is only held for a read and a write."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(fd, path):
                yield fd
                return
        finally:
            os.close(fd)


def _is_at(fd: int, path: str) -> bool:
    """Whether an open file is still the one at a path: the lock's last holder may have replaced it."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _line(held: HeldUrl) -> bytes:
    return json.dumps(held._asdict()).encode() + b"\n"


def _content(fd: int) -> bytes:
    return os.pread(fd, _LIMIT, 0)


def _parse(content: bytes) -> list[HeldUrl]:
    found: list[HeldUrl] = []
    for line in content.split(b"\n"):
        try:
            fields = json.loads(line)
            url, time = fields["url"], fields["time"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(url, str) and type(time) is int:
            found.append(HeldUrl(url, time))
    return found
