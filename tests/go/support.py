"""The stand-in as the tests use it: installed on a remote, running on a laptop, and what a desk has seen."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.go_program import GoProgram
from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.tools import DEADLINE, wait_until

if TYPE_CHECKING:
    from nssh.state.session_records import Record
    from tests.lab.sshd import Sshd

ROOT = Path(__file__).resolve().parents[2]

# Started by its own path, so that the process has the name of the file, as a compiled program has.
_STUB = f"""\
#!{sys.executable} -IS
import sys
sys.path.insert(0, {os.fspath(ROOT)!r})
from tests.go.program import main
sys.exit(main(sys.argv))
"""


def install(directory: Path) -> Path:
    """Put the program into a directory of a laptop; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "nssh"
    program.write_text(_STUB)
    program.chmod(0o755)
    return program


def install_on_remote(home: Path) -> GoProgram:
    """Install the program on a remote, as a binary that is recognised there, and links to it."""
    runner = home / "go-stand-in"
    home.mkdir(parents=True, exist_ok=True)
    runner.write_text(_STUB.replace("sys.argv", "sys.argv[1:]"))
    return GoProgram(home, does=f'exec {sys.executable} -IS {runner} "$name" "$@"')


class Desk:
    """What whoever sits at a laptop sees: the pages that were opened, and the clipboard."""

    def opened(self) -> list[str]:
        """Return the URLs that were opened so far."""
        raise NotImplementedError

    def copy(self, data: bytes, mime: str = "text/plain") -> None:
        """Copy as a program of the laptop would."""
        raise NotImplementedError

    def clipboard(self) -> bytes:
        """Return what the clipboard holds."""
        raise NotImplementedError


class OwnDesk(Desk):
    """The desk of this project's session: its browser is that of the lab, its clipboard a file."""

    def __init__(self, laptop: Laptop) -> None:
        self._laptop = laptop
        self._file = laptop.client.home / "clipboard"
        self._file.unlink(missing_ok=True)
        laptop.opened_file.unlink(missing_ok=True)
        script = laptop.client.home / "pasteboard"
        script.write_text(
            f'#!/bin/sh\nif [ "$1" = copy ]; then cat > {self._file}.new && mv {self._file}.new {self._file}\n'
            f"else cat {self._file} 2>/dev/null || true; fi\n"
        )
        script.chmod(0o755)
        with laptop.config.open("a") as config:
            config.write(f'[clipboard]\ncopy = "{script} copy"\npaste = "{script} paste"\n')

    def opened(self) -> list[str]:
        return self._laptop.opened()

    def copy(self, data: bytes, mime: str = "text/plain") -> None:  # noqa: ARG002
        self._file.write_bytes(data)  # an image is known by its first bytes

    def clipboard(self) -> bytes:
        return self._file.read_bytes() if self._file.exists() else b""


class GoDesk(Desk):
    """The desk of the stand-in; see `tests.go.laptop`. It outlives its sessions."""

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self.path = path

    def journal(self, what: str, pid: int = 0) -> list[dict[str, Any]]:
        """Return all of one kind that its sessions, or that of one PID, have done."""
        try:
            lines = (self.path / "journal").read_text().splitlines()
        except FileNotFoundError:
            return []
        done = map(json.loads, lines)
        return [one for one in done if one["did"] == what and (not pid or one["pid"] == pid)]

    def opened(self) -> list[str]:
        return [one["url"] for one in self.journal("opened")]

    def copied(self) -> list[bytes]:
        """Return what was put on the clipboard so far."""
        return [base64.b64decode(one["data"]) for one in self.journal("copied")]

    def copy(self, data: bytes, mime: str = "text/plain") -> None:
        name, other = ("image.png", "text") if mime == "image/png" else ("text", "image.png")
        (self.path / other).unlink(missing_ok=True)
        (self.path / name).write_bytes(data)

    def clipboard(self) -> bytes:
        for name in ("text", "image.png"):
            with contextlib.suppress(FileNotFoundError):
                return (self.path / name).read_bytes()
        return b""


class GoSession(RemoteShell):
    """A session of the stand-in, on the same laptop and with the same state directory as ours: `nssh devbox sh`."""

    def __init__(self, laptop: Laptop, desk: GoDesk, *flags: str) -> None:
        self.desk = desk
        program = install(laptop.client.home / "go")
        # It knows no `$NSSH_SSH`: the ssh on its PATH is the lab's.
        ssh = program.with_name("ssh")
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {" ".join(laptop.client.ssh[1:])} "$@"\n')
        ssh.chmod(0o755)
        env = {**laptop.env, "NSSH_GO_DESK": os.fspath(desk.path), "PATH": f"{ssh.parent}:{laptop.env['PATH']}"}
        super().__init__(laptop, "--ssh", *flags, program=(os.fspath(program),), env=env)

    @property
    def record(self) -> Record:
        """Its record, as our own sessions read it."""
        return next(record for record in self.laptop.sessions() if record.pid == self.pid)

    def did(self, what: str) -> list[dict[str, Any]]:
        """Return all of one kind that this session has done."""
        return self.desk.journal(what, self.pid)

    def wait_did(self, what: str, deadline: float = DEADLINE) -> dict[str, Any]:
        """Wait until it has done something of a kind, and return the first."""
        wait_until(lambda: self.did(what), f"it {what}", deadline)
        return self.did(what)[0]


def unique(tag: str) -> str:
    """Return a URL that no other test opens."""
    return f"https://example.com/{tag}?{random.randrange(10**9)}"  # noqa: S311 - no secret


def record_of(laptop: Laptop, pid: int) -> Record:
    """Wait until a session of ours has a role, and return its record."""
    wait_until(lambda: any(one.pid == pid and one.role for one in laptop.sessions()), "it has a role")
    return next(one for one in laptop.sessions() if one.pid == pid)


def wait_acting(laptop: Laptop, shell: RemoteShell) -> None:
    """Wait until a session of ours acts, and the remote knows of it."""

    def acts() -> bool:
        record = record_of(laptop, shell.pid)
        return record.role == "leader" and record.bus == "up" and bool(record.version)

    wait_until(acts, "it acts")


def wait_ready(laptop: Laptop, remote: Sshd) -> None:
    """Wait until the only session of ours has its bus up, and the remote's session file names its topic."""
    file = remote.state / "nssh/session"

    def ready() -> bool:
        topics = [one.topic for one in laptop.sessions() if one.bus == "up"]
        return bool(topics) and file.exists() and topics[0] in file.read_text()

    wait_until(ready, "it is ready")


def opens(shell: RemoteShell, tag: str) -> str:
    """Open a page from the remote; return its URL."""
    url = unique(tag)
    # While nobody acts it says that it is kept.
    assert shell.run(f"xdg-open '{url}'")[0] == 0
    return url
