"""A throwaway account of this machine, made by root for a test and removed after it."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX = "nsshlab"
_numbers = itertools.count()


class Account:
    """A second account with its own home directory and login shell, for a remote that is somebody else.

    The name holds this process's PID: what a killed test left behind can be told, and the next test removes it.
    """

    def __init__(self, home: Path, shell: str, *, with_password: bool = False) -> None:
        """Make it; the test is skipped if we are not root or the shell is not installed."""
        if os.geteuid() != 0:
            import pytest  # which the demo does without

            pytest.skip("a second account can only be made by root")
        path = shutil.which(shell)
        if path is None:
            import pytest

            pytest.skip(f"{shell} is not installed")
        _remove_stale()
        self.name = f"{_PREFIX}{os.getpid()}x{next(_numbers)}"
        self.password = secrets.token_hex(8) if with_password else None
        # "*": nobody's password, yet not locked as "!" would be (sshd without PAM refuses locked accounts).
        _change("useradd", "--no-create-home", "--no-user-group", "--home-dir", os.fspath(home), "--shell", path,
                "--password", "*", self.name)  # fmt: skip
        if self.password:
            _change("chpasswd", "--crypt-method", "SHA512", stdin=f"{self.name}:{self.password}\n")
        self.own(home)

    def own(self, directory: Path) -> None:
        """Give a directory and all in it to this account."""
        user = pwd.getpwnam(self.name)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def remove(self) -> None:
        """Kill what runs as this account and remove it."""
        _remove(self.name)


def _change(*command: str, stdin: str = "") -> None:
    # The password files are locked while another test changes them: their tools give up at once or after 15 s.
    for attempt in range(8):
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if "lock" not in done.stderr:
            break
        time.sleep(0.05 * 2**attempt)
    raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")


def _remove(name: str) -> None:
    uid = pwd.getpwnam(name).pw_uid
    mine = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.uids().real == uid and process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                mine.append(process)
    psutil.wait_procs(mine, timeout=5)
    # --force: a zombie that nobody collects would count as "user is currently used".
    _change("userdel", "--force", name)


def _remove_stale() -> None:
    for entry in pwd.getpwall():
        if entry.pw_name.startswith(_PREFIX):
            pid = entry.pw_name.removeprefix(_PREFIX).split("x")[0]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                with contextlib.suppress(RuntimeError, KeyError):  # another test was faster
                    _remove(entry.pw_name)
