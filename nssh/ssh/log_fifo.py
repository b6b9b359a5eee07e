"""Makes the FIFOs that ssh logs to, and removes those of processes that were killed before they could."""

from __future__ import annotations

import os
import re
import shutil
import tempfile

from nssh.base import process

_PREFIX = "nssh-log-"
_NAME = re.compile(_PREFIX + r"(\d+)-([0-9a-z.-]*)-\w+")


def make() -> str:
    """Return the path of a new FIFO, 0600, alone in a temporary directory, 0700. Raises OSError."""
    own = os.getpid()
    path = os.path.join(tempfile.mkdtemp(prefix=f"{_PREFIX}{own}-{_word(process.birth(own))}-"), "log")
    os.mkfifo(path, 0o600)
    return path


def remove(path: str) -> None:
    """Remove a FIFO and its directory; who has opened it goes on using it. Never raises."""
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)


def remove_abandoned() -> None:
    """Remove the FIFOs whose process is gone, in this user's directories. Never raises."""
    directory = tempfile.gettempdir()
    try:
        names = [name for name in os.listdir(directory) if name.startswith(_PREFIX)]
    except OSError:
        return
    for name in names:
        found = _NAME.fullmatch(name)
        path = os.path.join(directory, name)
        if found and _word(process.birth(int(found[1]))) != found[2] and _is_ours(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except OSError:
        return False  # somebody else has just removed it


def _word(birth: str) -> str:
    """Return a birth as a part of a file's name."""
    return birth.replace("/", "-")
