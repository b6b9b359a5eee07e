"""The topic of a target: secret, kept from session to session so that what was spooled meanwhile arrives, once.

A topic belongs to one key (`identity.Target.key`) and one server. Its file, `topics/<key>+<server>.json` in the state
directory, names the topic and a serial; the ledger and the lease of the topic are named by that serial, never by the
topic itself.
Standard library only, on the way to ssh.
"""

from __future__ import annotations

import binascii
import json
import os
import time
from typing import NamedTuple

from nssh.wire import files

# Longer than any bus keeps a message (ntfy 12 h, the relay 12 h): nothing can be waiting on a topic unused for so long.
_ROTATE_AFTER = 7 * 86400.0

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._-")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class Topic(NamedTuple):
    """A topic and where its durable state is."""

    name: str
    ledger: str
    lease: str


def file_name(text: str) -> str:
    """Make any text a file name that a reader still recognises; long ones are cut and given a checksum."""
    name = "".join(character if character in _SAFE else f"%{ord(character):02x}" for character in text)
    return name if len(name) <= 150 else f"{name[:140]}-{binascii.crc32(text.encode()):08x}"


def new_name() -> str:
    """Return a fresh secret topic: `nssh_` and 20 base32 characters of 12 random bytes, as PROTOCOL.md has it."""
    number = int.from_bytes(os.urandom(12), "big") << 4
    return "nssh_" + "".join(_BASE32[number >> shift & 31] for shift in range(95, -1, -5))


def obtain(key: str, server: str, *, fixed: str = "", fresh: bool = False) -> Topic:
    """Return the topic of a target, a new one if there is none, if it has long been unused, or if `fresh`.

    Two nssh that start at the same moment get the same topic: the file is created whole, by one of them.

    Args:
        key: The session's key.
        server: The bus it goes over.
        fixed: The topic that the configuration prescribes, if any.
        fresh: Make a new one in any case (`--new`).

    Raises:
        OSError: The state directory can't be written.
    """
    files.make_private_dir(files.state_dir())
    directory = files.make_private_dir(os.path.join(files.state_dir(), "topics"))
    path = os.path.join(directory, file_name(f"{key}+{server}") + ".json")
    for _ in range(8):
        known = None if fresh else _read(path, fixed)
        if known is not None:
            os.utime(path)
            return _topic(path, *known)
        _create(path, fixed or new_name(), replace=fresh or os.path.exists(path))
        fresh = False
    raise OSError(f"{path} changes faster than it can be read")


def _topic(path: str, name: str, serial: str) -> Topic:
    stem = f"{path.removesuffix('.json')}.{serial}"
    return Topic(name, f"{stem}.ledger", f"{stem}.lease")


def _read(path: str, fixed: str) -> tuple[str, str] | None:
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
            age = time.time() - os.fstat(file.fileno()).st_mtime
        name, serial = record["topic"], record["serial"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(name, str) or not isinstance(serial, str) or age > _ROTATE_AFTER or (fixed and name != fixed):
        return None
    return name, serial


def _create(path: str, name: str, *, replace: bool) -> None:
    """Write the file of a topic; without `replace` somebody else's newer one is left in place."""
    temporary = f"{path}.{os.getpid()}.new"
    record = {"topic": name, "serial": os.urandom(4).hex()}
    files.write_private(temporary, json.dumps(record).encode())
    try:
        if replace:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
    except FileExistsError:
        pass  # somebody was first: theirs is read next
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
