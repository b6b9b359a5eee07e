"""Stores the expected callbacks of a topic, so that a login survives the bridge's death and a change of the session.

One small file (0600), written only by the session that holds the topic's lease. It has ports and paths, but no query.
"""

from __future__ import annotations

import json
import math
import os
from typing import NamedTuple

from nssh.local.callback_finder import Callback
from nssh.local.callback_flow import LONGEST
from nssh.wire import files

_LIMIT = 64 * 1024
_MOST = 64


class Expected(NamedTuple):
    """A callback, and until when it is expected, in seconds since the epoch."""

    callback: Callback
    expires: float


def write(path: str, expected: list[Expected]) -> None:
    """Replace the file's content; remove the file if no callback is expected.

    Raises:
        OSError: The state directory can't be written.
    """
    if expected:
        entries = [{**entry.callback._asdict(), "expires": entry.expires} for entry in expected[-_MOST:]]
        files.write_private(path, json.dumps(entries).encode())
        return
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def read(path: str, now: float) -> list[Expected]:
    """Return the callbacks that are still expected. A malformed file, or entry, counts as none.

    Args:
        path: The file.
        now: Seconds since the epoch. An entry that expires later than `LONGEST` from now was written by a wrong clock,
            and is left out.
    """
    try:
        with open(path, "rb") as file:
            entries = json.loads(file.read(_LIMIT))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(entries, list):
        return []
    found = [_entry(entry) for entry in entries[:_MOST]]
    return [entry for entry in found if entry is not None and 0 < entry.expires - now <= LONGEST]


def _entry(fields: object) -> Expected | None:
    try:
        host, port, path, secure, expires = (fields[key] for key in ("host", "port", "path", "secure", "expires"))  # type: ignore[index]  # TypeError below
    except (TypeError, KeyError):
        return None
    if host not in ("localhost", "127.0.0.1", "::1") or type(port) is not int or not 0 < port < 1 << 16:
        return None
    if not isinstance(path, str) or type(secure) is not bool or type(expires) not in {int, float}:
        return None
    return Expected(Callback(host, port, path, secure), expires) if math.isfinite(expires) else None
