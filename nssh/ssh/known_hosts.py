"""Read known_hosts files as OpenSSH does: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. Standard library only.

paramiko's own reader is not used: it knows no patterns, no markers and no line numbers.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMIT = 16 << 20  # bytes of a file that are read


class KnownKey(NamedTuple):
    """A line of a known_hosts file that matches the host."""

    kind: str
    """The key's type: `ssh-ed25519`."""
    blob: bytes
    marker: str
    """`@revoked`, `@cert-authority`, or empty."""
    file: str
    line: int


def look_up(name: str, files: Iterable[str]) -> list[KnownKey]:
    """Return every key in `files` for a name (`host` or `[host]:port`), in order; unreadable files are skipped."""
    return [key for file in files for key in _read(name.lower(), file)]


def _read(name: str, file: str) -> list[KnownKey]:
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or not _matches(name, fields[0]):
            continue
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        found.append(KnownKey(fields[1], blob, marker, file, number))
    return found


def _matches(name: str, patterns: str) -> bool:
    if patterns.startswith("|1|"):
        return _hash_matches(name, patterns)
    matched = False
    for pattern in patterns.lower().split(","):
        negated = pattern.startswith("!")
        # Only * and ? are special; the brackets of [host]:port are not.
        if fnmatch.fnmatchcase(name, pattern[negated:].replace("[", "[[]")):
            if negated:
                return False
            matched = True
    return matched


def _hash_matches(name: str, field: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in field[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
