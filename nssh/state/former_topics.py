"""Keeps the topics that a target had before a Replace, until nothing can come on them any more.

A program on the remote that began before the session file named the new topic publishes on the old one. So the session
that leads follows the former topics, too (`nssh.bus.drain`). They share the ledger of the present one. Each ledger has
one file of former topics beside it, 0600, with one JSON object a line; it is removed with the last of them. Standard
library only: the launcher writes it on the way to ssh.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from nssh.state import topics
from nssh.wire import files
from nssh.wire.session_file import is_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LIMIT = 1 << 20
"""Bytes of a file that are read."""

OLD = 86400.0
"""Seconds after which a former topic is forgotten unread: no bus keeps messages for longer by default."""


class FormerTopic(NamedTuple):
    """A topic that a target had before."""

    name: str
    since: int
    """When it was replaced; seconds since the epoch."""
    foreign: str = ""
    """Names the session of another program whose topic it was, as PID and birth; empty if it was ours."""
    ledger: str = ""
    """The ledger that it had, if that is another one than the present topic's."""
    unnamed: int = 0
    """When the remote's session file was first known to name another topic; seconds since the epoch, 0 if not yet."""


def path_of(ledger: str) -> str:
    """Return the path of the file that belongs to a ledger."""
    return topics.beside(ledger, "former")


def add(ledger: str, former: Sequence[FormerTopic]) -> None:
    """Add topics behind those that are there; one that is there already is not added again.

    Raises:
        OSError: The state directory can't be written.
    """

    def change(known: list[FormerTopic]) -> list[FormerTopic]:
        names = {one.name for one in known}
        return known + [one for one in former if one.name not in names]

    _change(path_of(ledger), change)


def remove(ledger: str, name: str) -> None:
    """Remove a topic. Raises OSError."""
    _change(path_of(ledger), lambda known: [one for one in known if one.name != name])


def mark_unnamed(ledger: str) -> None:
    """Note that the remote's session file names none of the topics any more, unless noted before. Raises OSError."""
    now = int(time.time())
    _change(path_of(ledger), lambda known: [one._replace(unnamed=one.unnamed or now) for one in known])


def read(ledger: str, present: str) -> list[FormerTopic]:
    """Return the former topics, oldest first, without `present`, the one that the target has now.

    Raises:
        OSError: The file is there and can't be read.
    """
    try:
        fd = os.open(path_of(ledger), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    with os.fdopen(fd, "rb") as file:
        return [one for one in _parse(file.read(_LIMIT)) if one.name != present]


def _change(path: str, change: Callable[[list[FormerTopic]], list[FormerTopic]]) -> None:
    with topics.locked(os.path.dirname(path)):
        try:
            with open(path, "rb") as file:
                known = _parse(file.read(_LIMIT))
        except FileNotFoundError:
            known = []
        changed = change(known)
        if changed:
            text = "".join(json.dumps(one._asdict()) + "\n" for one in changed)
            if changed != known:
                files.write_private(path, text.encode())
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _parse(content: bytes) -> list[FormerTopic]:
    """Return the topics of a file's content; malformed lines and old topics are passed over."""
    found: list[FormerTopic] = []
    oldest = time.time() - OLD
    for line in content.split(b"\n"):
        try:
            fields = json.loads(line)
            one = FormerTopic(**fields)
        except (ValueError, TypeError, RecursionError):
            continue
        texts = all(isinstance(text, str) for text in (one.name, one.foreign, one.ledger))
        numbers = all(type(number) is int for number in (one.since, one.unnamed))
        if texts and numbers and is_topic(one.name) and one.since > oldest:
            found.append(one)
    return found
