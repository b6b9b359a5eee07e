"""What the lab's parts share: waiting, keys, and clearing away what killed tests left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEADLINE = 20.0
"""Seconds; what does not happen within them never will."""


def wait_until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll a condition with doubling pauses until it is true.

    Raises:
        TimeoutError: It was still false after `deadline` seconds.
    """
    end = time.monotonic() + deadline
    pause = 0.005
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {deadline:g} s still not: {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.2)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Generate a key pair at `path` and `path.pub`, in place of one that is there."""
    for old in (path, path.with_name(path.name + ".pub")):
        old.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "nssh-lab", "-f", os.fspath(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return path


def can_connect(path: str) -> bool:
    """Whether somebody accepts connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program by SIGTERM, or SIGKILL if it takes more than a second.

    ssh 9.2 looks at the signals that arrived and then waits in poll: one that comes in between is not seen until
    something else happens.
    """
    process.terminate()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(DEADLINE)


def own(directory: Path) -> None:
    process = psutil.Process()
    (directory / "owner").write_text(f"{process.pid} {process.create_time()}")


def remove_stale() -> None:
    """Remove what tests that were killed left in /tmp, sshds and daemons included."""
    for owner in Path("/tmp").glob("nssh-*/owner"):
        with contextlib.suppress(OSError, ValueError):  # another test's, being made or removed right now
            pid, created = owner.read_text().split()
            if owner.stat().st_uid != os.geteuid() or _runs(int(pid), float(created)):
                continue
            kill_all(_listeners(owner.parent))
            kill_all(marked(owner.parent))
            shutil.rmtree(owner.parent, ignore_errors=True)


def _runs(pid: int, created: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - created) < 1
    except psutil.NoSuchProcess:
        return False


def _listeners(directory: Path) -> list[psutil.Process]:
    # sshd writes its title over its environment, so it is known by its command line.
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"-D -f {directory}/sshd_config " in " ".join(process.cmdline()):
                found += [*process.children(recursive=True), process]
    return found


def marked(directory: Path) -> list[psutil.Process]:
    mark = os.fspath(directory)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            # A daemon whose environment is its own is known by the paths it was given; the sshd itself is not meant.
            words = process.cmdline()
            named = any(word.startswith(f"{mark}/") for word in words) and "-D" not in words
            if (named or process.environ().get("NSSH_LAB") == mark) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Kill processes and wait until they are dead; in a container nobody may collect those that lost their parent."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()

    def dead(process: psutil.Process) -> bool:
        try:
            return process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_until(lambda: all(dead(process) for process in processes), "killed processes are gone")
