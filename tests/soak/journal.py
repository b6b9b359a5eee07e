"""What the laptop's browser and clipboard did, written down by stand-ins for both, and what follows from it.

The clipboard's stand-in answers to `xclip`, is found first on the laptop's PATH, and keeps one content for all sessions
of the laptop. Every change is in a journal, so that what a read was told can be compared with what there was.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_XCLIP = """\
#!{python} -IS
import fcntl, hashlib, os, sys, time

DIRECTORY = {directory!r}
ATOMS = ["UTF8_STRING", "STRING", "TEXT", "text/plain;charset=utf-8", "text/plain"]
words = sys.argv[1:]
target = words[words.index("-t") + 1] if "-t" in words else "UTF8_STRING"
content = os.path.join(DIRECTORY, "content")

def current():
    with open(content, "rb") as file:
        mime, _, data = file.read().partition(b"\\n")
    return mime.decode(), data

with open(os.path.join(DIRECTORY, "journal"), "ab") as journal:
    if "-o" in words or "-out" in words:
        fcntl.flock(journal, fcntl.LOCK_SH)
        mime, data = current()
        offered = ATOMS if mime == "text/plain" else [mime]
        if target == "TARGETS":
            data = "\\n".join(["TARGETS", *offered, ""]).encode()
        elif target not in offered:
            sys.exit("Error: target %s not available" % target)
        fcntl.flock(journal, fcntl.LOCK_UN)
        sys.stdout.buffer.write(data)
    else:
        data = sys.stdin.buffer.read()
        mime = "text/plain" if target in ATOMS else target
        fcntl.flock(journal, fcntl.LOCK_EX)
        begun = time.monotonic()
        with open(content + ".new", "wb") as file:
            file.write(mime.encode() + b"\\n" + data)
        os.rename(content + ".new", content)
        digest = hashlib.sha256(data).hexdigest()
        journal.write(b"%.6f %.6f %s %s\\n" % (begun, time.monotonic(), mime.encode(), digest.encode()))
        journal.flush()
"""

_BROWSER = """\
#!{python} -IS
import os, sys, time

line = "%.6f %s\\n" % (time.time(), sys.argv[1])
fd = os.open({opened!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(fd, line.encode())
"""


def digest(data: bytes) -> str:
    """Return what stands for a content."""
    return hashlib.sha256(data).hexdigest()


class Change(NamedTuple):
    """One change of the clipboard; times are `time.monotonic()`, which all processes of a machine share."""

    begun: float
    ended: float
    mime: str
    digest: str


class Clipboard:
    """The stand-in for a clipboard, which is never empty."""

    def __init__(self, directory: Path) -> None:
        """Make it in an empty directory; `path` is to be put first on the PATH."""
        self._directory = directory / "clipboard"
        self._directory.mkdir(mode=0o700)
        self.path = directory / "bin"
        self.path.mkdir()
        (self._directory / "content").write_bytes(b"text/plain\nfirst")
        (self._directory / "journal").write_text(f"0 0 text/plain {digest(b'first')}\n")
        _script(self.path / "xclip", _XCLIP.format(python=sys.executable, directory=os.fspath(self._directory)))

    def changes(self) -> list[Change]:
        """Return all changes so far, the first content included."""
        found = []
        for line in (self._directory / "journal").read_text().splitlines():
            begun, ended, mime, sha = line.split()
            found.append(Change(float(begun), float(ended), mime, sha))
        return found


def held_between(changes: list[Change], start: float, end: float) -> list[Change]:
    """Return what the clipboard held at one moment or another of an interval."""
    untils = [change.ended for change in changes[1:]] + [float("inf")]
    return [change for change, until in zip(changes, untils, strict=True) if change.begun <= end and until >= start]


class Opened(NamedTuple):
    """A URL that the browser was started with; `time` is `time.time()`."""

    time: float
    url: str


class Browser:
    """The stand-in for a browser."""

    def __init__(self, directory: Path) -> None:
        """Make it in a directory; `command` is to be configured."""
        self._journal = directory / "opened"
        self.command = directory / "browser"
        _script(self.command, _BROWSER.format(python=sys.executable, opened=os.fspath(self._journal)))

    def opened(self) -> list[Opened]:
        """Return the URLs that it was started with, in order."""
        try:
            lines = self._journal.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [Opened(float(line.split()[0]), line.split()[1]) for line in lines]


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
