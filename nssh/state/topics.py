"""Keeps the secret topic of each target from session to session, so that messages sent in between arrive, once.

A topic belongs to one key (`identity.Target.key`) and one server. Its file, `topics/<key>+<server>.json` in the state
directory, holds the topic and a serial. The names of its ledger and its lease contain the serial, never the topic. A
Replace changes the topic and keeps the serial. A topic that the configuration pins is the same for every key, and so
are its ledger and its lease. Standard library only: on the way to ssh.
"""

from __future__ import annotations

import binascii
import contextlib
import fcntl
import json
import os
import time
from typing import NamedTuple

from nssh.state.lease import Lease
from nssh.wire import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nssh.state.session_records import Record

# Seconds after which the files of a former topic are removed: longer than any bus keeps a message (12 h).
_OLD = 7 * 86400.0

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._-")
_TOPIC = _SAFE - frozenset("@.")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class Topic(NamedTuple):
    """A topic, and the paths of its ledger and its lease."""

    name: str
    ledger: str
    lease: str
    serial: str = ""


def file_name(text: str) -> str:
    """Return a readable file name for any text. Long ones are cut and end with a checksum."""
    data = text.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if chr(byte) in _SAFE else f"%{byte:02x}" for byte in data)
    return name if len(name) <= 150 else f"{name[:140]}-{binascii.crc32(data):08x}"


def new_name() -> str:
    """Return a fresh secret topic: `nssh_` and 20 base32 characters of 12 random bytes, as docs/protocol.md has it."""
    number = int.from_bytes(os.urandom(12), "big") << 4
    return "nssh_" + "".join(_BASE32[number >> shift & 31] for shift in range(95, -1, -5))


def obtain(
    key: str, server: str, *, fixed: str = "", fresh: bool = False, joined: tuple[str, str] | None = None
) -> Topic:
    """Return the topic of a target; create one if there is none, or if `fresh`.

    A topic never gets too old: a program on the remote may have published on it just now. Two sessions that start at
    the same moment get the same topic: one of them writes the file, under a lock.

    Args:
        key: The session's key.
        server: The server of the bus.
        fixed: The topic that the configuration pins; empty if it pins none.
        fresh: Whether to create a new topic in any case (`--new`).
        joined: Topic and serial of a live session, which become the target's own. The serial is empty for a session of
            the Go program.

    Raises:
        OSError: The state directory can't be written.
    """
    files.make_private_dir(files.state_dir())
    directory = files.make_private_dir(os.path.join(files.state_dir(), "topics"))
    path = os.path.join(directory, file_name(f"{'pinned' if fixed else key}+{server}") + ".json")
    known = None if fresh and not fixed else _read(path, fixed)
    if joined and not fixed and (known is None or known[0] != joined[0] or joined[1] not in {"", known[1]}):
        known = _renew(directory, path, joined[0], joined[1], fresh=True)
    elif known is None:
        known = _renew(directory, path, fixed, fresh=fresh and not fixed)
    return _topic(path, *known)


def succeed(key: str, server: str, ended: Sequence[Record]) -> Topic:
    """Give a target a fresh topic in place of the present one and of those that ended sessions had (`--replace`).

    What was accepted on the topics before is still to take effect, once. So they are noted as former topics, and share
    the new topic's ledger.

    Args:
        key: The session's key.
        server: The server of the bus.
        ended: The records of the sessions that were ended.

    Raises:
        OSError: The state directory can't be written.
    """
    from nssh.state import former_topics
    from nssh.state.former_topics import FormerTopic

    files.make_private_dir(files.state_dir())
    directory = files.make_private_dir(os.path.join(files.state_dir(), "topics"))
    path = os.path.join(directory, file_name(f"{key}+{server}") + ".json")
    known = _read(path, "")
    kept = known[1] if known is not None else os.urandom(4).hex()
    successor = _topic(path, new_name(), kept)
    now = int(time.time())
    former = {known[0]: FormerTopic(known[0], now)} if known is not None else {}
    # Those of another program come last: it has acted on all that its topic had, whoever shared it.
    for record in sorted(ended, key=lambda one: one.foreign):
        foreign = f"{record.pid} {record.started}" if record.foreign else ""
        ledger = "" if record.foreign or record.serial == kept else _topic(path, "", record.serial).ledger
        former[record.topic] = FormerTopic(record.topic, now, foreign, ledger)
    # Before the new topic is: a process that dies here leaves a former topic that is the present one, and not read.
    former_topics.add(successor.ledger, list(former.values()))
    _renew(directory, path, successor.name, kept, fresh=True)
    return successor


def current(key: str, server: str) -> str:
    """Return the present topic of a target; empty if it has none. Pinned topics don't count."""
    known = _read(os.path.join(files.state_dir(), "topics", file_name(f"{key}+{server}") + ".json"), "")
    return known[0] if known else ""


def newest(name: str, ledger: str) -> str:
    """Return the present topic of a session's target. It differs from the session's own after a later `--new`."""
    stem = ledger.removesuffix(".ledger").rpartition(".")[0]
    known = _read(f"{stem}.json", "")
    return known[0] if known is not None else name


def beside(ledger: str, kind: str) -> str:
    """Return the path of another file of a ledger's topic: `held`, `callbacks`, `former` or `lease`."""
    return f"{ledger.removesuffix('.ledger')}.{kind}"


def _topic(path: str, name: str, serial: str) -> Topic:
    stem = f"{path.removesuffix('.json')}.{serial}"
    return Topic(name, f"{stem}.ledger", f"{stem}.lease", serial)


def _read(path: str, fixed: str) -> tuple[str, str] | None:
    """Return the topic and the serial of a file; None if it is missing, malformed, or not about `fixed`."""
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(4096))
        name, serial = record["topic"], record["serial"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(name, str) or not name or set(name) - _TOPIC:
        return None
    if not isinstance(serial, str) or not serial.isalnum() or not serial.isascii():
        return None
    return None if fixed and name != fixed else (name, serial)


def _renew(directory: str, path: str, name: str, serial: str = "", *, fresh: bool) -> tuple[str, str]:
    """Write a topic's file, unless another process just did and `fresh` is false. Make up an empty name or serial."""
    with locked(directory):
        if not fresh:
            known = _read(path, name)
            if known is not None:
                return known
        renewed = name or new_name(), serial or os.urandom(4).hex()
        files.write_private(path, json.dumps({"topic": renewed[0], "serial": renewed[1]}).encode())
        _prune(directory, path, renewed[1])
        return renewed


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Wait for the lock of the directory of topics, which is only held for a read and a write. Raises OSError."""
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: go on without
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _prune(directory: str, path: str, serial: str) -> None:
    """Remove the ledgers and leases of the target's former topics, once the bus has deleted their messages.

    Held URLs stay: the user may open them.
    """
    stem = os.path.basename(path).removesuffix(".json")
    for name in os.listdir(directory):
        parts = name.removeprefix(f"{stem}.").split(".")
        if (
            not name.startswith(f"{stem}.")
            or parts[0] == serial
            or parts[1:] not in (["ledger"], ["lease"], ["former"])
        ):
            continue
        former = os.path.join(directory, f"{stem}.{parts[0]}.lease")
        lease = Lease(former)
        try:
            old = time.time() - os.stat(os.path.join(directory, name)).st_mtime > _OLD
            if old and lease.acquire():
                os.unlink(os.path.join(directory, name))
                os.unlink(former)
        except OSError:
            pass  # another process removed it first, or it can't be removed
        finally:
            lease.release()
