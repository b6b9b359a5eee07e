"""The two questions of `nssh sweep` on a remote: plain lines on the terminal."""

from __future__ import annotations

import os

from nssh.base.printable import printable
from nssh.remote.failure import ToolExit
from nssh.remote.shim import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from nssh.mosh.swept_host import ServerEntry

OLD = 24 * 3600.0
"""Seconds. `old` selects servers that were started longer ago."""

_LONGEST = 4096
_CANCELLING = ("none", "q", "quit", "c", "cancel")


def cancelled() -> ToolExit:
    """Return the error by which a sweep ends that the user has cancelled."""
    return ToolExit("nssh: cancelled\n", 130)


def confirm(count: int) -> None:
    """Ask whether to end the servers that were shown. Raises ToolExit if not."""
    them = "this mosh-server" if count == 1 else "these %d mosh-servers" % count
    if _ask("End %s? [y/N] " % them).lower() not in ("y", "yes"):
        raise cancelled()


def select(entries: Sequence[ServerEntry]) -> list[ServerEntry]:
    """Ask which of the servers to end that were shown, until the answer makes sense. Raises ToolExit for none."""
    while True:
        answer = _ask("End which? PIDs, all, old (older than 24 h), detached; Enter or q for none: ")
        chosen, problem = understand(answer, entries)
        if chosen and not problem:
            return chosen
        if not problem:
            raise cancelled()
        complain("nssh: %s\n" % printable(problem, 400))


def understand(answer: str, entries: Sequence[ServerEntry]) -> tuple[list[ServerEntry], str]:
    """Return the servers that a line selects, and what is wrong with it; neither for a line that cancels."""
    words = answer.lower().replace(",", " ").split()
    if len(words) == 1 and words[0] in _CANCELLING:
        return [], ""
    free = [entry for entry in entries if not entry.spared]
    chosen: list[ServerEntry] = []
    for word in words:
        if word in ("all", "a"):
            found, problem = free, "all are spared"
        elif word in ("old", "older", "o"):
            found, problem = [entry for entry in free if entry.server.age > OLD], "none is older than 24 h"
        elif word in ("detached", "d"):
            found, problem = [entry for entry in free if str(entry.server.state) == "detached"], "none is detached"
        else:
            found, problem = _by_pid(word, entries)
        if not found:
            return [], problem
        chosen += found
    return [entry for entry in entries if entry in chosen], ""


def _by_pid(word: str, entries: Sequence[ServerEntry]) -> tuple[list[ServerEntry], str]:
    found = [entry for entry in entries if str(entry.server.pid) == word]
    if not found:
        return [], "%s is no PID in the list" % word[:40]
    spared = found[0].spared
    return ([], "PID %s is spared: %s" % (word, spared)) if spared else (found, "")


def _ask(question: str) -> str:
    """Return the line that is typed behind a question; empty at the end of the terminal."""
    import termios

    try:
        termios.tcflush(0, termios.TCIFLUSH)  # what was typed before it could be read is no answer
    except termios.error:
        pass  # the terminal has gone
    complain(question)
    try:
        line = os.read(0, _LONGEST)
    except OSError:
        line = b""
    if not line.endswith(b"\n"):
        complain("\n")
    return line.decode("utf-8", "replace").strip()
