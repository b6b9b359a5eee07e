"""Runs `nssh status --tail`: prints the events of all sessions as they happen, and some from before."""

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

from nssh.log.event_line import Renderer, hide_topic, parse
from nssh.log.log_reader import LogFile, when
from nssh.state import session_records
from nssh.wire import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nssh.state.session_records import Record

LOOK_BACK: Final = 10
"""Events of each live session that are shown at first, without `--since`."""

_PAUSE: Final = 0.5  # seconds between two looks at the logs
_KEEP_OPEN: Final = 60.0  # seconds that the log of an ended session is kept open after its last event
_FILES: Final = 8192


def run(since: float | None, *, raw: bool = False) -> int:
    """Print events until Ctrl-C, or until the reader of standard output has gone; return the exit code.

    Args:
        since: Seconds to look back, in the logs of ended sessions, too; None for the last events of live sessions.
        raw: Whether to print the events as JSON lines.
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
    """Where the log of an ended session ended."""

    inode: int
    size: int


class LogFollower:
    """Follows all logs of the user: those of live sessions, and every log in the directory of logs.

    So it also follows sweeps, sessions that start and end between two looks, and the last events of ended ones.
    """

    def __init__(self, since: float | None) -> None:
        self._cutoff = None if since is None else time.time() - since
        self._directory = os.path.join(files.state_dir(), "logs")
        self._first = True
        self._followed: dict[str, LogFile] = {}
        self._touched: dict[str, float] = {}
        self._known: dict[str, _Known] = {}
        self._names: dict[str, str] = {}
        self._topics: dict[str, str] = {}

    def look(self) -> bool:
        """Find new logs; return whether any session is live."""
        records = [record for record in session_records.live() if record.log]
        live = {record.log: _name(record) for record in records}
        self._names.update(live)
        # The Go program's log tells the topic, which is a secret.
        self._topics.update((record.log, record.topic) for record in records if record.foreign)
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
        """Yield the new events in the order of time, each as its session's name and its line."""
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
            return found  # no directory yet, or a log was removed meanwhile: the next look finds the rest
        return found

    def _begin(self, log: LogFile, info: os.stat_result | None, *, live: bool) -> bool:
        """Choose where to begin in a log that was there at the start; return whether to show anything of it."""
        if self._cutoff is None:
            if live:
                log.from_last(LOOK_BACK)
            return live
        # A file that was last written before the cutoff has no event to show.
        if live or info is None or info.st_mtime >= self._cutoff:
            log.from_time(self._cutoff)
            return True
        return False

    def _new(self, path: str) -> Iterator[tuple[float, str, bytes]]:
        log, moment = self._followed[path], 0.0
        for line in log.lines():
            self._touched[path] = time.monotonic()
            moment = when(line) or moment
            yield moment, path, hide_topic(line, self._topics[path]) if path in self._topics else line

    def _let_go(self, live: dict[str, Any], found: dict[str, os.stat_result], now: float) -> None:
        """Close the logs of sessions that ended a while ago. If one is written again, it is followed again."""
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
                self._topics.pop(path, None)


def _name(record: Record) -> str:
    if not record.foreign:
        return record.target
    # Never by the name of its log, which holds the topic.
    return f"{record.target or f'pid {record.pid}'} (Go)"


def _stem(path: str) -> str:
    return os.path.basename(path).removesuffix(".jsonl")


def _allow_files() -> None:
    """Raise the limit of open files, which is 256 on some systems: each log that is followed is open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # logs beyond the limit are not shown


def _pause(seconds: float) -> bool:
    """Wait; return True, at once, if the reader of standard output has gone."""
    if sys.stdout.isatty():
        time.sleep(seconds)  # a terminal that is gone sends SIGHUP; some systems can't poll a terminal
        return False
    poller = select.poll()
    poller.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(seconds * 1000))
