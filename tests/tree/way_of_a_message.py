"""How long one message's way is: calls of our own functions, modules and threads, from its publication to its end.

    python -m tests.tree.way_of_a_message

prints, for an `open` and for an `open` on which the URL opener crashes once, the fewest of a few goes. What the program
on the remote does is not counted. `profile` is also for tests that look for one call on the way.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.supervision.support import eventually
from tests.tree.stage import PARTS, Faults, Stage, is_idle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ROOT = os.fspath(Path(__file__).resolve().parents[2])
OURS = tuple(os.path.join(ROOT, package) + os.sep for package in ("nssh", "actors"))
GOES = 5


class Call(NamedTuple):
    module: str
    function: str
    thread: str


class Calls:
    """What our own functions were called for, on any thread but the one that looks."""

    def __init__(self) -> None:
        self.made: Counter[Call] = Counter()
        self.counting = False
        self._looker = threading.get_ident()

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note the calls of threads that are started within."""
        threading.setprofile(self._note)
        try:
            yield
        finally:
            threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or not self.counting or not code.co_filename.startswith(OURS):
            return
        if threading.get_ident() != self._looker:
            call = Call(_module(code.co_filename), code.co_qualname, threading.current_thread().name)
            self.made[call] += 1

    def named(self, module: str, *functions: str) -> int:
        """How often these functions of a module were called."""
        return sum(
            count
            for call, count in self.made.items()
            if call.module == module and call.function.rpartition(".")[2] in functions
        )

    def __str__(self) -> str:
        modules, threads = {call.module for call in self.made}, {call.thread for call in self.made}
        return f"{self.made.total()} calls, {len(modules)} modules, {len(threads)} threads"


@functools.cache
def _module(path: str) -> str:
    return os.path.relpath(path, ROOT).removesuffix(".py").replace(os.sep, ".")


def profile(stage: Stage, calls: Calls, faults: Faults | None = None) -> None:
    """Count what one URL takes until it was opened and nobody is at anything any more; with `faults`, after a crash."""
    stage.serves()
    _rest(stage)
    before = len(stage.log("actor-restart"))
    if faults is not None:
        faults.plan("message", faults.fail)
    calls.counting = True
    url = stage.open_url()
    eventually(lambda: url in stage.opened(), "the URL is opened")
    if faults is not None:
        eventually(lambda: len(stage.log("actor-restart")) == before + 1, "the crash is in the log")
    _rest(stage)
    calls.counting = False


def _rest(stage: Stage) -> None:
    for _ in range(2):  # who was idle may have been told something by who was looked at after it
        for name in PARTS:
            eventually(lambda name=name: is_idle(stage, name), f"{name} is idle")  # type: ignore[misc]


def main() -> int:
    from tests.tree.conftest import theatre

    with contextlib.contextmanager(getattr(theatre, "__wrapped__", None) or theatre.__pytest_wrapped__.obj)() as shared:  # type: ignore[attr-defined]
        for title, crash in (("an open", False), ("an open, with one crash of url_opener", True)):
            goes: list[Calls] = []
            for _ in range(GOES):
                with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir="/tmp") as directory:
                    stage, calls = Stage(shared, patch, Path(directory)), Calls()
                    faults = Faults("url_opener", patch) if crash else None
                    with calls.noted(), stage.playing():
                        profile(stage, calls, faults)
                    goes.append(calls)
            fewest = min(goes, key=lambda calls: calls.made.total())
            ledger = "nssh.bus.ledger"
            print(f"{title}: {fewest}; claim {fewest.named(ledger, 'claim')}, seen {fewest.named(ledger, 'seen')}")
            if "-v" in sys.argv:
                for call, count in sorted(fewest.made.items()):
                    print(f"{count:6} {call.module} {call.function} [{call.thread}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
