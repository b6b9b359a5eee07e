"""What programs on the remote do meanwhile: open URLs, copy, paste; several at once, each one thing after another."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.soak.journal import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.soak.world import World

HANGS = 60.0
"""Seconds after which a shim hangs for good: each gives up long before, and says why."""

# Seconds between two things that one program does. With three programs: about a URL a second, below what is a flood.
_PAUSE = (0.3, 1.2)
_KINDS = (("open", 40), ("read", 30), ("read-image", 4), ("write", 16), ("write-file", 5), ("write-image", 5))

PNG = b"\x89PNG\r\n\x1a\n"


class Deed(NamedTuple):
    """One run of a shim.

    Attributes:
        kind: `open`, `read`, `read-image`, `write`, `write-file` (long text), `write-image`.
        what: The URL; the digest of what was written or read.
        start, end: Between which it ran, by `time.monotonic()`.
        at: When it ran, by `time.time()`.
        status: Its exit status; None if it did not end.
        said: Its standard error.
        size: Bytes that were written; each write has a size of its own if it travels as a file.
    """

    kind: str
    what: str
    start: float
    end: float
    at: float
    status: int | None
    said: str
    size: int = 0

    @property
    def accepted(self) -> bool:
        return self.status == 0


class Shots:
    """Tells when the next shim starts; for any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def fire(self) -> None:
        """A shim starts now."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_next(self, timeout: float) -> bool:
        """Wait for the next one; False if `timeout` seconds pass without."""
        with self._changed:
            count = self._count
            return self._changed.wait_for(lambda: self._count > count, timeout)


class Program(threading.Thread):
    """A program on the remote, in a shell there; deterministic but for time."""

    def __init__(self, world: World, number: int, seed: int, shots: Shots, note: Callable[[Deed], None]) -> None:
        super().__init__(name=f"program-{number}", daemon=True)
        self._world = world
        self._number = number
        self._chance = random.Random(f"{seed}-{number}")  # noqa: S311 - no secret
        self._shots = shots
        self._note = note
        self._over = threading.Event()
        self._count = 0
        self._shell = world.shell()
        self._files = world.home / f"soak-{number}"
        self._files.mkdir(mode=0o700)
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.wait(self._chance.uniform(*_PAUSE)):
                kinds, weights = zip(*_KINDS, strict=True)
                self.do(self._chance.choices(kinds, weights)[0])
        except BaseException as error:  # noqa: BLE001 - told to who waits for this thread
            self.failure = error

    def stop(self) -> None:
        """Let it end behind what it is at."""
        self._over.set()

    def close(self) -> None:
        """End its shell."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(HANGS)

    def do(self, kind: str) -> Deed:
        """Do one thing, and note it."""
        self._count += 1
        name = f"{self._number}-{self._count}"
        given = self._files / f"{name}.in"
        data = b""
        if kind == "open":
            url = f"http://example.com/soak/{name}?secret={self._chance.randrange(1 << 30)}"
            command = f"xdg-open '{url}' </dev/null"
        elif kind.startswith("write"):
            data = self._content(kind, name)
            given.write_bytes(data)
            command = self._chance.choice(("xclip -selection clipboard -i", "wl-copy"))
            mime = " -t image/png" if kind == "write-image" else ""
            command = f"{command}{mime} <{given}"
        else:
            mime = " -t image/png" if kind == "read-image" else ""
            command = f"xclip -selection clipboard -o{mime} </dev/null"
        self._world.note_topic()
        self._shots.fire()
        at, start = time.time(), time.monotonic()
        status = self._run(command, self._files / name)
        end = time.monotonic()
        self._world.note_topic()
        out, said = _take(self._files / f"{name}.out"), _take(self._files / f"{name}.err").decode("utf-8", "replace")
        given.unlink(missing_ok=True)
        what = url if kind == "open" else digest(data if kind.startswith("write") else out)
        deed = Deed(kind, what, start, end, at, status, said.strip(), len(data))
        self._note(deed)
        if status is None:
            raise TimeoutError(f"{command} did not end")
        return deed

    def _content(self, kind: str, name: str) -> bytes:
        text = f"{kind} {name} ".encode()
        if kind == "write":
            return text + b"x" * self._chance.randrange(2000)
        # A size that no other write has.
        size = 4000 + self._chance.randrange(100) * 3000 + 3 * self._count + self._number
        return ((PNG if kind == "write-image" else b"") + text).ljust(size, b"y")

    def _run(self, command: str, files: Path) -> int | None:
        """Run a command line in the shell; return its exit status, None if it does not end."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{{ {command}; }} >{files}.out 2>{files}.err; echo $?\n".encode())
        self._shell.stdin.flush()
        watchdog = threading.Timer(HANGS, self._shell.kill)
        watchdog.start()
        try:
            line = self._shell.stdout.readline()
        finally:
            watchdog.cancel()
        return int(line) if line else None


def _take(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        os.unlink(path)
        return data
    return b""
