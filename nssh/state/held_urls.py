"""Stores URLs that are not opened unasked: those held for the user, and those found.

A held URL came too late, or with too many others; `nssh status --open-held` opens it. A found one was on the topic when
a session of ours took the topic over: another program may have opened it, so it is shown only, and dropped a day later.

Each topic has a file with one URL a line. Writers lock it, so that a session can add a URL while the user opens others.
Readers need no lock: a line counts only once it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from nssh.wire.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOUND_KEPT = 86400.0
"""Seconds for which a found URL is kept: by then the user has seen it."""

_LIMIT = 1 << 20
"""Bytes of one file, so that a remote can't fill the disk."""


class HeldUrl(NamedTuple):
    """A URL that was not opened."""

    url: str
    time: int
    """When it was sent, in seconds since the epoch, by the server's clock."""
    found: bool = False
    """Whether it was found when the topic was taken over from another program, and so is never opened by nssh."""


class _Line(NamedTuple):
    """A line of the file: a JSON object. If its URL was found, `found` in it is the time of that by our clock."""

    content: bytes
    held: HeldUrl
    expired: bool


def add(path: str, *urls: HeldUrl) -> bool:
    """Append URLs to a topic's file, created 0600; one that is there is not added again (a repeat after a crash).

    If the file is full (1 MiB), found URLs make room, the oldest first.

    Returns:
        False if there is no room, so that not all of them are stored.

    Raises:
        OSError: The state directory can't be written.
    """
    if not urls:
        return True
    with _locked(path, create=True) as fd:
        content = _content(fd)
        lines = [_line(held) for held in dict.fromkeys(urls)]
        new = [line for line, begin in lines if b"\n" + begin not in b"\n" + content]
        # A crash may have left an incomplete line before.
        added = b"\n" * bool(content and not content.endswith(b"\n")) + b"".join(new)
        if len(content) + len(added) > _LIMIT:
            return _add_instead_of_found(path, _parse(content), _parse(added))
        if os.pwrite(fd, added, len(content)) != len(added):
            os.ftruncate(fd, len(content))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return True


def read(path: str) -> list[HeldUrl]:
    """Return the URLs of a topic's file in the order of their arrival. Malformed lines are passed over.

    Found URLs that have been kept for a day are removed.

    Raises:
        OSError: The file is there and can't be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        lines = _parse(_content(fd))
    finally:
        os.close(fd)
    if any(line.expired for line in lines):
        _remove_expired(path)
    return [line.held for line in lines if not line.expired]


def take(path: str) -> HeldUrl | None:
    """Remove and return the first held URL of a topic's file; None if there is none. Found ones stay.

    Two callers never get the same one.

    Raises:
        OSError: The file can't be read or written.
    """
    try:
        with _locked(path, create=False) as fd:
            lines = _parse(_content(fd))
            for number, line in enumerate(lines):
                if not line.held.found:
                    _replace(path, lines[:number] + lines[number + 1 :])
                    return line.held
    except FileNotFoundError:
        pass
    return None


def _remove_expired(path: str) -> None:
    try:
        with _locked(path, create=False) as fd:
            _replace(path, _parse(_content(fd)))
    except OSError:
        pass  # gone, or it can't be written: readers pass over what has expired


def _add_instead_of_found(path: str, old: Sequence[_Line], new: Sequence[_Line]) -> bool:
    """Write a full file anew, with new lines and without as many found URLs as that takes; return whether all fit."""
    lines = [line for line in (*old, *new) if not line.expired]
    excess = sum(len(line.content) + 1 for line in lines) - _LIMIT
    kept = []
    for line in lines:
        if excess > 0 and line.held.found:
            excess -= len(line.content) + 1
        else:
            kept.append(line)
    if excess > 0:
        return False
    _replace(path, kept)
    return set(new) <= set(kept)


def _replace(path: str, lines: Sequence[_Line]) -> None:
    """Write a file anew with those lines that have not expired, and remove it if there are none."""
    content = b"".join(line.content + b"\n" for line in lines if not line.expired)
    if content:
        write_private(path, content)
    else:
        os.unlink(path)


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


def _line(held: HeldUrl) -> tuple[bytes, bytes]:
    """Return a URL's line, and how any line of the same URL, time and kind begins."""
    fields = json.dumps({"url": held.url, "time": held.time}).encode()
    if not held.found:
        return fields + b"\n", fields + b"\n"
    begin = fields[:-1] + b', "found": '
    return begin + b"%d}\n" % time.time(), begin


def _content(fd: int) -> bytes:
    return os.pread(fd, _LIMIT, 0)


def _parse(content: bytes) -> list[_Line]:
    lines = []
    now = time.time()
    for line in content.split(b"\n"):
        try:
            fields = json.loads(line)
            url, sent, found = fields["url"], fields["time"], fields.get("found")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if not isinstance(url, str) or type(sent) is not int:
            continue
        if found is None:
            lines.append(_Line(line, HeldUrl(url, sent), expired=False))
        elif type(found) is int:
            # Also one from the future: a clock that was wrong must not keep it for ever.
            expired = abs(now - found) > FOUND_KEPT
            lines.append(_Line(line, HeldUrl(url, sent, found=True), expired))
    return lines
