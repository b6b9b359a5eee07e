"""`nssh status --tail`: the events of all sessions as they happen, and, if asked, those before."""

from __future__ import annotations

import heapq
import json
import os
import resource
import select
import stat
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from nssh.log.event_line import Renderer, parse
from nssh.log.rotated_file import LogFile, when
from nssh.state import records
from nssh.wire import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_BACK: Final = 10
"""Events of each live session that are shown first where no time was asked for."""

_PAUSE: Final = 0.5  # seconds: live enough for a reader
_KEEP_OPEN: Final = 60.0  # seconds that the log of a session that ended is kept open after its last event
_FILES: Final = 8192


def run(since: float | None, *, raw: bool = False) -> int:
    """Follow all logs until interrupted or until nobody reads our output; return the exit code.

    Args:
        since: Seconds to look back, over the logs of ended sessions, too; None for the last few events of live ones.
        raw: Print the events as JSON lines.
    """
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    _allow_files()
    follower = LogFollower(since)
    show = _show_json if raw else _show_text(Renderer(colour=colour))
    if not follower.look():
        print("no live sessions; waiting for one (Ctrl-C ends)", file=sys.stderr)
    while True:
        for name, line in follower.events():
            show(name, line)
        sys.stdout.flush()
        if _pause(_PAUSE):
            return 0
        follower.look()


def _show_text(renderer: Renderer) -> Callable[[str, bytes], None]:
    def show(name: str, line: bytes) -> None:
        print(renderer.render(name, line, parse(line)))

    return show


def _show_json(_: str, line: bytes) -> None:
    fields = parse(line)
    if fields is not None:
        print(json.dumps(fields))


class _Known(NamedTuple):
    """A log that nobody writes to at the moment: where it ended."""

    inode: int
    size: int


class LogFollower:
    """All logs of this machine's user: those of live sessions wherever they are, and all in the directory of logs.

    A session that starts and ends between two looks leaves a new file there, one that just ended goes on being read,
    and sweeps and whatever else writes a log there are followed alike.
    """

    def __init__(self, since: float | None) -> None:
        self._cutoff = None if since is None else time.time() - since
        self._directory = os.path.join(files.state_dir(), "logs")
        self._first = True
        self._followed: dict[str, LogFile] = {}
        self._touched: dict[str, float] = {}
        self._known: dict[str, _Known] = {}
        self._names: dict[str, str] = {}

    def look(self) -> bool:
        """Look which logs there are; return whether any session is live."""
        live = {record.log: record.target for record in records.live() if record.log}
        self._names.update(live)
        found = self._scan()
        now = time.monotonic()
        for path in [*live, *(path for path in found if path not in live)]:
            if path in self._followed:
                continue
            log = LogFile(path)
            known = self._known.pop(path, None)
            if self._first and not self._begin(log, found.get(path), live=path in live):
                self._known[path] = _Known(found[path].st_ino, found[path].st_size)
                continue
            if known is not None:
                if path not in live and known == _Known(found[path].st_ino, found[path].st_size):
                    self._known[path] = known
                    continue
                log.from_mark(*known)
            self._followed[path] = log
            self._touched[path] = now
        self._let_go(live, found, now)
        self._first = False
        return bool(live)

    def events(self) -> Iterator[tuple[str, bytes]]:
        """Yield what is new, with its session's name, in the order of time."""
        for _, path, line in heapq.merge(*map(self._new, self._followed), key=lambda event: event[0]):
            if path not in self._names and b'"session-start"' in line:
                self._names[path] = str((parse(line) or {}).get("target", ""))
            yield self._names.get(path) or _stem(path), line

    def _scan(self) -> dict[str, os.stat_result]:
        found: dict[str, os.stat_result] = {}
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    if not entry.name.endswith(".jsonl"):
                        continue
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(info.st_mode):
                        found[entry.path] = info
        except OSError:
            return found  # none yet, or one that was pruned under our eyes: the next look sees the rest
        return found

    def _begin(self, log: LogFile, info: os.stat_result | None, *, live: bool) -> bool:
        """Choose where to begin with a log that was there before us; return whether to show anything of it."""
        if self._cutoff is None:
            if live:
                log.from_last(LOOK_BACK)
            return live
        # A file that was not written to since then holds nothing that was asked for.
        if live or info is None or info.st_mtime >= self._cutoff:
            log.from_time(self._cutoff)
            return True
        return False

    def _new(self, path: str) -> Iterator[tuple[float, str, bytes]]:
        log, moment = self._followed[path], 0.0
        for line in log.lines():
            self._touched[path] = time.monotonic()
            moment = when(line) or moment
            yield moment, path, line

    def _let_go(self, live: dict[str, Any], found: dict[str, os.stat_result], now: float) -> None:
        """Close the logs of sessions that ended a while ago; should they be written to again, that is noticed."""
        for path in [path for path in self._followed if path not in live]:
            if now - self._touched[path] <= _KEEP_OPEN:
                continue
            log = self._followed.pop(path)
            del self._touched[path]
            mark = log.mark()
            log.close()
            if path in found and mark is not None:
                self._known[path] = _Known(*mark)
            else:
                self._names.pop(path, None)


def _stem(path: str) -> str:
    return os.path.basename(path).removesuffix(".jsonl")


def _allow_files() -> None:
    """Let us hold a log open for each of many sessions: the default of some systems is 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # what can't be opened is not shown


def _pause(seconds: float) -> bool:
    """Wait; return True, at once, if whoever reads our output is gone."""
    if sys.stdout.isatty():
        time.sleep(seconds)  # SIGHUP tells; and some systems can't poll a terminal
        return False
    poller = select.poll()
    poller.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(seconds * 1000))
