"""The topic of a target: secret, kept from session to session so that what was spooled meanwhile arrives, once.

A topic belongs to one key (`identity.Target.key`) and one server. Its file, `topics/<key>+<server>.json` in the state
directory, names the topic and a serial; the ledger and the lease of the topic are named by that serial, never by the
topic itself.
Standard library only, on the way to ssh.
"""

from __future__ import annotations

import binascii
import fcntl
import json
import os
import time
from typing import NamedTuple

from nssh.lease import Lease
from nssh.wire import files

# Longer than any bus keeps a message (ntfy 12 h, the relay 12 h): nothing can be waiting on a topic unused for so long.
_ROTATE_AFTER = 7 * 86400.0

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._-")
_TOPIC = _SAFE - frozenset("@.")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class Topic(NamedTuple):
    """A topic and where its durable state is."""

    name: str
    ledger: str
    lease: str


def file_name(text: str) -> str:
    """Make any text a file name that a reader still recognises; long ones are cut and given a checksum."""
    data = text.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if chr(byte) in _SAFE else f"%{byte:02x}" for byte in data)
    return name if len(name) <= 150 else f"{name[:140]}-{binascii.crc32(data):08x}"


def new_name() -> str:
    """Return a fresh secret topic: `nssh_` and 20 base32 characters of 12 random bytes, as PROTOCOL.md has it."""
    number = int.from_bytes(os.urandom(12), "big") << 4
    return "nssh_" + "".join(_BASE32[number >> shift & 31] for shift in range(95, -1, -5))


def obtain(key: str, server: str, *, fixed: str = "", fresh: bool = False) -> Topic:
    """Return the topic of a target, a new one if there is none, if it has long been unused, or if `fresh`.

    Two nssh that start at the same moment get the same topic: one of them writes the file, under a lock.

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
    known = None if fresh else _read(path, fixed)
    if known is None:
        known = _renew(directory, path, fixed, fresh=fresh)
    os.utime(path)
    return _topic(path, *known)


def _topic(path: str, name: str, serial: str) -> Topic:
    stem = f"{path.removesuffix('.json')}.{serial}"
    return Topic(name, f"{stem}.ledger", f"{stem}.lease")


def _read(path: str, fixed: str, *, rotate: bool = True) -> tuple[str, str] | None:
    """Return the topic and the serial in a file; None if it is not there, damaged, another than `fixed`, or too old."""
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(4096))
            age = time.time() - os.fstat(file.fileno()).st_mtime
        name, serial = record["topic"], record["serial"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(name, str) or not name or set(name) - _TOPIC:
        return None
    if not isinstance(serial, str) or not serial.isalnum() or not serial.isascii():
        return None
    if (rotate and age > _ROTATE_AFTER) or (fixed and name != fixed):
        return None
    return name, serial


def _renew(directory: str, path: str, fixed: str, *, fresh: bool) -> tuple[str, str]:
    """Write the file of a topic anew, unless somebody else just did."""
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: as good as it gets
        if not fresh:
            known = _read(path, fixed) or _in_use(path, fixed)
            if known is not None:
                return known
        name, serial = fixed or new_name(), os.urandom(4).hex()
        files.write_private(path, json.dumps({"topic": name, "serial": serial}).encode())
        return name, serial
    finally:
        os.close(lock)


def _in_use(path: str, fixed: str) -> tuple[str, str] | None:
    """Return an old topic whose lease is held: a session has been open for longer than a topic lasts unused."""
    known = _read(path, fixed, rotate=False)
    if known is None:
        return None
    lease = Lease(_topic(path, *known).lease)
    if lease.acquire():
        lease.release()
        return None
    return known
