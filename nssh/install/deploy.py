"""Installs the remote side of nssh on a host or on this machine, and removes it. This is the laptop's part.

A framed script (`nssh.ssh.framing`) finds a python3 there, and runs the installer with the package in memory. So a host
on which the installer refuses to install is not changed.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh import __version__
from nssh.base.errors import RemoteError
from nssh.base.printable import LONGEST, printable
from nssh.remote import library
from nssh.ssh import framing
from nssh.ssh.script import exchange

if TYPE_CHECKING:
    from nssh.ssh.connection import Connection

# Seconds. The shells of a slow host have 5 s for the PATH check, loginctl has 3 s; the rest is fast.
_TIMEOUT = 60.0

_LOADER = Path(__file__).with_name("loader.py")


class InstallPayload(NamedTuple):
    """The files that are installed on a remote."""

    version: str
    digest: str
    """12 hexadecimal digits, a hash of all files, which tells two builds of one version apart."""
    files: dict[str, str]
    """The source text of each path, such as `nssh/wire/files.py`."""


class InstallReport(NamedTuple):
    """The result of an installation or removal."""

    version: str
    """The version that is installed now; empty after a removal."""
    python: str
    """The interpreter that runs the shims; empty after a removal."""
    changed: bool
    """Whether anything was changed."""
    warnings: tuple[str, ...]
    """Lines for the user, such as a shell that does not look in `~/.local/bin`."""


@lru_cache(maxsize=1)
def payload() -> InstallPayload:
    """Return the sources of the packages that run on a remote, read from this installation.

    Raises:
        OSError: A file of the installation can't be read.
    """
    files = library.read(os.fspath(Path(__file__).parents[1]))
    return InstallPayload(__version__, library.digest(files), files)


def infect(connection: Connection, *, host: str = "the remote", force: bool = False) -> InstallReport:
    """Install nssh over a connection, or repair or upgrade it. Blocks for a minute at most; for any thread.

    Args:
        connection: The way to the remote.
        host: What to call the remote in errors.
        force: Whether to replace foreign files, which are kept, and to install on a machine with a desktop.

    Raises:
        RemoteError: The remote has no python3, no space, a desktop, or a file in the way.
        ConnectError: The connection is lost.
    """
    return _report(*exchange(connection, _request("install", force=force), _TIMEOUT), host)


def remove(connection: Connection, *, host: str = "the remote") -> InstallReport:
    """Remove what `infect` installed; files that it replaced come back. Raises what `infect` raises."""
    return _report(*exchange(connection, _request("remove"), _TIMEOUT), host)


def infect_self(*, force: bool = False) -> InstallReport:
    """Install nssh on this machine, for the calling user. Blocks; raises RemoteError for the reasons of `infect`."""
    return _here(_request("install", force=force))


def remove_self() -> InstallReport:
    """Remove what `infect_self`, or an `infect` from another machine, installed on this machine. Raises RemoteError."""
    return _here(_request("remove"))


def _request(action: str, *, force: bool = False) -> framing.Script:
    return script("nssh.remote.install", {"action": action, "force": force, **payload()._asdict()})


def script(module: str, request: dict[str, Any]) -> framing.Script:
    """Return a script that finds a python3 on the remote, and runs a module of nssh with it, from memory.

    Args:
        module: A module with a function `run(request, say)`, which returns the exit status. It may read further input.
        request: The JSON object for `run`. Its `files`, as in `InstallPayload`, are the modules that can be imported.
    """
    loader = _LOADER.read_bytes()
    data = json.dumps({"module": module, **request}).encode()
    return framing.pack(_find_python(), data=b"%d\n%s%d\n%s" % (len(loader), loader, len(data), data))


def _find_python() -> str:
    return framing.source(__file__, "find_python.sh")


def _here(script: framing.Script) -> InstallReport:
    command = ["/bin/sh", "-c", framing.BOOTSTRAP]
    try:
        done = subprocess.run(command, input=script.stdin, capture_output=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"installing on this machine took longer than {_TIMEOUT:.0f} s") from error
    return _report(framing.unpack(script, done.stdout), done.stderr, "this machine")


def _report(answer: framing.Answer, stderr: bytes, host: str) -> InstallReport:
    fields = answer.fields
    if answer.status == 3 and "nopython" in fields:
        found = f" ({printable(fields['nopython'], LONGEST)} there)" if fields["nopython"] else ""
        raise RemoteError(
            f"no python3 on {host}{found}: install python3 (3.8 or newer) there, then run nssh infect again"
        )
    if answer.status != 0:
        last = stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise RemoteError(f"{host}: {printable(fields.get('error') or f'the installer failed ({last[0]})', LONGEST)}")
    warnings = tuple(printable(line.partition(" ")[2], LONGEST) for line in answer.lines if line.startswith("warning "))
    version, python = (printable(fields.get(name, ""), LONGEST) for name in ("version", "python"))
    return InstallReport(version, python, fields.get("changed") == "1", warnings[:20])
