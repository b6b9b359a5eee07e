"""Reaching a remote by whichever way works: its live connection, a quick one of our own, or OpenSSH itself."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError
from nssh.ssh.batch_connection import BatchConnection
from nssh.ssh.control_connection import ControlConnection
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target

_FORGET_AFTER = 7 * 86400  # seconds: keys and configurations change
_MAX_REMEMBERED = 200

# Failures that another way to log in would only meet again. A proxied host's may be about the proxy, which ssh may
# reach by ways of its own.
_FINAL = frozenset({"resolve", "refused", "unreachable", "timeout"})


def connect(target: Target, *, control_path: str | None, deadline: float, remember: str | os.PathLike[str] | None = None
            ) -> Connection:  # fmt: skip
    """Connect to a remote, without ever asking anybody anything.

    Args:
        target: Whom.
        control_path: The control socket of a live connection, if there may be one.
        deadline: By `time.monotonic`, for all attempts together.
        remember: A JSON file that tells which hosts only OpenSSH reaches, to be tried first by that way; it is created.

    Raises:
        ConnectError: None of the ways worked; the reason is ssh's own. A changed host key is never tried again.
    """
    if control_path is not None:
        connection = ControlConnection(target, control_path)
        if connection.alive():
            return connection
    path = os.fspath(remember) if remember is not None else None
    if not _needs_openssh(path, target.key):
        try:
            return _connect_paramiko(target, deadline)
        except ConnectError as error:
            if _is_final(error, target) or time.monotonic() > deadline:
                raise
    batch = _connect_batch(target, deadline, path)
    _note(path, target.key, openssh=True)
    return batch


def _connect_paramiko(target: Target, deadline: float) -> Connection:
    # Imported here: its 0.3 s are not for those who come by a control socket.
    from nssh.ssh.paramiko_connection import ParamikoConnection

    return ParamikoConnection(target, max(deadline - time.monotonic(), 0.1))


def _is_final(error: ConnectError, target: Target) -> bool:
    from nssh.ssh._dial import UnsupportedError
    from nssh.ssh._link import UnknownHostKeyError

    if isinstance(error, UnsupportedError | UnknownHostKeyError):
        return False
    return error.kind == "hostkey" or (error.kind in _FINAL and not target.proxied)


def _connect_batch(target: Target, deadline: float, path: str | None) -> BatchConnection:
    connection = BatchConnection(target)
    try:
        # Words that every shell has; whatever they print or return, somebody let us in.
        connection.run("exit 0", timeout=max(deadline - time.monotonic(), 0.1))
    except BaseException:
        connection.close()
        _note(path, target.key, openssh=False)
        raise
    return connection


def _read(path: str | None) -> dict[str, float]:
    """Return the hosts on record and when they were noted; a file that makes no sense counts as none."""
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(1 << 20))
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {key: noted for key, noted in record.items() if isinstance(noted, int | float)}


def _needs_openssh(path: str | None, key: str) -> bool:
    noted = _read(path).get(key, 0.0)
    return 0 <= time.time() - noted < _FORGET_AFTER


def _note(path: str | None, key: str, *, openssh: bool) -> None:
    if path is None:
        return
    record = _read(path)
    if not openssh and key not in record:
        return
    record.pop(key, None)
    if openssh:
        record[key] = int(time.time())
    newest = dict(sorted(record.items(), key=lambda item: item[1])[-_MAX_REMEMBERED:])
    try:
        files.make_private_dir(os.path.dirname(path))
        files.write_private(path, json.dumps(newest).encode())
    except OSError:
        return  # a note that saves time, no more
