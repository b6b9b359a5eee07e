"""Installs the remote side of nssh on a host or on this machine, and removes it. This is the laptop's part.

One framed script (`ssh.framing`) finds a python3 there and feeds it the installer and the package, which stay in memory
until the installer has looked around: a host that it refuses is not touched.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nssh import __version__
from nssh.base.errors import RemoteError
from nssh.base.printable import LONGEST, printable
from nssh.ssh import framing
from nssh.ssh.remote_command import remote_command
from nssh.ssh.script import exchange

if TYPE_CHECKING:
    from nssh.ssh.connection import Connection

__all__ = ["Payload", "Report", "infect", "infect_self", "payload", "remote_command", "remove", "remove_self"]

# The shells of a slow host get 5 s to answer the PATH check, loginctl 3 s; the rest is a matter of moments.
_TIMEOUT = 60.0

_LOADER = Path(__file__).with_name("loader.py")


class Payload(NamedTuple):
    """What is put on a remote."""

    version: str
    digest: str
    """12 hexadecimal digits over all the files: tells two builds of one version apart."""
    files: dict[str, str]
    """Source text by path (`nssh/wire/files.py`)."""


class Report(NamedTuple):
    """What an installation or removal did."""

    version: str
    """The version that is there now; empty after a removal."""
    python: str
    """The interpreter that runs the shims, empty after a removal."""
    changed: bool
    """False if everything was as wanted before."""
    warnings: tuple[str, ...]
    """Lines for the user, such as a shell that does not look in `~/.local/bin`."""


@lru_cache(maxsize=1)
def payload() -> Payload:
    """Collect the sources of what runs on a remote from the installed package.

    Raises:
        OSError: A file of the installation can't be read.
    """
    root = Path(__file__).parents[1]
    paths = [root / "__init__.py"]
    for package in ("wire", "remote", "relay"):
        paths += sorted((root / package).glob("*.py"))
    files = {f"nssh/{path.relative_to(root).as_posix()}": path.read_text(encoding="utf-8") for path in paths}
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
    return Payload(__version__, digest, files)


def infect(connection: Connection, *, host: str = "the remote", force: bool = False) -> Report:
    """Install nssh over a connection, or repair or upgrade what is there. `host` is how messages call it.

    Blocks for a second or two, a minute at most; any thread.

    Raises:
        RemoteError: The remote can't or won't have it (no python3, no space, a desktop, a file in the way).
        ConnectError: The connection is gone.
    """
    return _over(connection, _request("install", force=force), host)


def remove(connection: Connection, *, host: str = "the remote") -> Report:
    """Take away over a connection what `infect` put there; files that it had kept come back. Raises as `infect`."""
    return _over(connection, _request("remove"), host)


def infect_self(*, force: bool = False) -> Report:
    """Install on this machine, for the calling user.

    Raises:
        RemoteError: As `infect`.
    """
    return _here(_request("install", force=force))


def remove_self() -> Report:
    """Take away what `infect_self`, or an `infect` of this machine from elsewhere, put here. Raises RemoteError."""
    return _here(_request("remove"))


def _request(action: str, *, force: bool = False) -> framing.Script:
    return script("nssh.remote.install", {"action": action, "force": force, **payload()._asdict()})


def script(module: str, request: dict[str, Any]) -> framing.Script:
    """Return the script that runs a module of ours on a remote, from memory, with the python3 that it finds there.

    Args:
        module: Its `run(request, say)` returns the exit status; what follows on stdin is left for it to read.
        request: Anything for JSON; `files` of the payload are what can be imported there.
    """
    loader = _LOADER.read_bytes()
    data = json.dumps({"module": module, **request}).encode()
    return framing.pack(_find_python(), data=b"%d\n%s%d\n%s" % (len(loader), loader, len(data), data))


def _find_python() -> str:
    return framing.source(__file__, "find_python.sh")


def _over(connection: Connection, script: framing.Script, host: str) -> Report:
    answer, stderr = exchange(connection, script, _TIMEOUT)
    return _report(answer, stderr, host)


def _here(script: framing.Script) -> Report:
    command = ["/bin/sh", "-c", framing.BOOTSTRAP]
    try:
        done = subprocess.run(command, input=script.stdin, capture_output=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"installing on this machine took longer than {_TIMEOUT:.0f} s") from error
    return _report(framing.unpack(script, done.stdout), done.stderr, "this machine")


def _report(answer: framing.Answer, stderr: bytes, host: str) -> Report:
    fields = answer.fields
    if answer.status == 3 and "nopython" in fields:
        found = f" ({_clean(fields['nopython'])} there)" if fields["nopython"] else ""
        raise RemoteError(
            f"no python3 on {host}{found}: install python3 (3.8 or newer) there, then run nssh infect again"
        )
    if answer.status != 0:
        last = stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise RemoteError(f"{host}: {_clean(fields.get('error') or f'the installer failed ({last[0]})')}")
    warnings = tuple(_clean(line.partition(" ")[2]) for line in answer.lines if line.startswith("warning "))
    return Report(
        _clean(fields.get("version", "")), _clean(fields.get("python", "")), fields.get("changed") == "1", warnings[:20]
    )


def _clean(text: str) -> str:
    """Make a hostile remote's text fit for a terminal and one line."""
    return printable(text, LONGEST)
