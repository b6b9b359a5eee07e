"""Connect to a remote by the first way that works: the user's live connection, paramiko, or OpenSSH in batch mode."""

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

# Kinds of failure that OpenSSH would meet as well. Behind a proxy they may be about the proxy, which ssh may reach in
# other ways.
_FINAL = frozenset({"resolve", "refused", "unreachable", "timeout"})


def connect(target: Target, *, control_path: str | None, deadline: float, remember: str | os.PathLike[str] | None = None
            ) -> Connection:  # fmt: skip
    """Connect to a remote without asking the user anything; blocks until `deadline` at most.

    Args:
        target: The remote.
        control_path: The control socket of a live connection, or None.
        deadline: By `time.monotonic`, for all attempts together.
        remember: A JSON file of the hosts that only OpenSSH could reach: they are tried that way first. Created here.

    Raises:
        ConnectError: None of the ways worked; the reason is in ssh's words. After a changed host key nothing else is
            tried.
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
    # Imported here: it costs 0.3 s, which a control socket does not need.
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
        # Every shell knows these words; whatever they print or return, the login has succeeded.
        connection.run("exit 0", timeout=max(deadline - time.monotonic(), 0.1))
    except BaseException:
        connection.close()
        _note(path, target.key, openssh=False)
        raise
    return connection


def _read(path: str | None) -> dict[str, float]:
    """Return the recorded hosts with the time of each record; a file that can't be read or parsed has none."""
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
        return  # the record only saves time
