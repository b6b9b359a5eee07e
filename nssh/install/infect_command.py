"""Runs `nssh infect`: installs or removes the remote side, over an ssh login that may ask the user for a password."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from nssh.base.errors import ConnectError, NsshError
from nssh.install import deploy
from nssh.ssh import control_path, framing, identity, login, master
from nssh.ssh.control_connection import ControlConnection
from nssh.state import remembered_hosts
from nssh.state.remembered_hosts import RememberedHost

if TYPE_CHECKING:
    from nssh.config.settings import Config
    from nssh.install.deploy import InstallReport
    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target


def _tell(destination: str, report: InstallReport) -> None:
    for warning in report.warnings:
        print(f"nssh: {destination}: {warning}", file=sys.stderr)


def _remember(target: Target, host: RememberedHost) -> None:
    """Remember a remote. If that fails, the next session finds out again, and the user is told."""
    try:
        remembered_hosts.write(target.key, host)
    except OSError as error:
        reason = f"{error.filename or 'the state directory'}: {error.strerror}"
        print(f"nssh: can't write {reason}; the next session asks {target.destination} anew", file=sys.stderr)


def hold(target: Target, path: str) -> Connection:
    """Keep a shared connection from ending by its idle limit (ControlPersist), until the returned one is closed."""
    connection = ControlConnection(target, path)
    with contextlib.suppress(ConnectError):  # the next use of the connection reports the reason
        connection.open_stream("exec cat")
    return connection


def over_control(target: Target, path: str, *, force: bool = False) -> tuple[RememberedHost, bool]:
    """Install over a live control socket, tell the user, and remember it. Blocks.

    Returns:
        What is now remembered of the remote, and whether there were warnings for the user.

    Raises:
        NsshError: The installation failed; the text says why.
    """
    with_connection = ControlConnection(target, path)
    try:
        report = deploy.infect(with_connection, host=target.destination, force=force)
    finally:
        with_connection.close()
    _tell(target.destination, report)
    verb = "installed" if report.changed else "already has"
    print(f"nssh: {target.destination}: {verb} nssh {report.version} ({report.python})", file=sys.stderr)
    host = remembered_hosts.read(target.key)._replace(version=report.version, declined=False, go_shims=False)
    _remember(target, host)
    return host, bool(report.warnings)


def run(destination: str, ssh_options: tuple[str, ...], config: Config, *, force: bool, remove: bool) -> int:
    """Run `nssh infect [--force|--remove] <host>|self` and return its exit code.

    Raises:
        NsshError: The installation failed; the text says why.
    """
    if destination == "self":
        report = deploy.remove_self() if remove else deploy.infect_self(force=force)
        _tell("self", report)
        done = "removed" if remove else "installed" if report.changed else "already has"
        nothing = remove and not report.changed
        print(f"nssh: self: {'nothing to remove' if nothing else f'{done} nssh {report.version}'.rstrip()}")
        return 0
    target = identity.resolve(config.ssh.command, destination, ssh_options)
    path = target.control_path or control_path.choose(os.getpid())
    if not path:
        raise NsshError("no private directory is short enough for a control socket; set XDG_RUNTIME_DIR to one")
    status, answer = login.run(target, framing.pack("finish 0\n"), path)
    if answer is None:
        if status:
            return status  # ssh has said why
        raise ConnectError(f"{target.destination}: its shell did not run our script")
    connection = ControlConnection(target, path)
    try:
        if remove:
            report = deploy.remove(connection, host=target.destination)
            _tell(target.destination, report)
            done = "removed" if report.changed else "nothing to remove"
            print(f"nssh: {target.destination}: {done}", file=sys.stderr)
            _remember(target, RememberedHost())
        else:
            over_control(target, path, force=force)
    finally:
        if not target.control_path:
            master.end(path)
        connection.close()
    return 0
