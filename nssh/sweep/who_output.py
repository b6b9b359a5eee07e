"""What `who` says of mosh-servers: mosh writes `ADDRESS via mosh [PID]` into utmp, and `mosh [PID]` while detached."""

from __future__ import annotations

import re
from calendar import timegm
from time import gmtime, strptime
from typing import NamedTuple


class UtmpEntry(NamedTuple):
    """One line of `who` about a mosh-server."""

    pid: int
    tty: str
    """Without `/dev/`."""
    client: str
    """The client's address; `` while detached."""
    written: float | None
    """When it was last written, seconds since the epoch; `who` tells the minute at best."""


# What is behind the PID was added by others: screen puts `:S.0` behind the host of each of its windows.
_MOSH = re.compile(r"[\s(](?:(?P<client>[^\s(]+) via )?mosh \[(?P<pid>[0-9]{1,9})\]\)?\s*$")
_ISO = re.compile(r"\b([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2})\b")
# The C locale's: no year.
_MONTH = re.compile(r"\b([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}:[0-9]{2})\b")
_HALF_A_DAY = 43200.0


def read(line: str, now: float) -> UtmpEntry | None:
    """Read one line of `who` (GNU, busybox, macOS, FreeBSD; run with LC_ALL=C and TZ=UTC0); None if it is no mosh's.

    Args:
        line: As `who` printed it.
        now: The host's time, for the year that most of them leave out.
    """
    words = line.split(maxsplit=2)
    found = _MOSH.search(line)
    if found is None or len(words) < 3:
        return None
    return UtmpEntry(int(found["pid"]), words[1], found["client"] or "", _written(line[: found.start()], now))


def _written(text: str, now: float) -> float | None:
    iso = _ISO.search(text)
    if iso:
        return _seconds(iso[1], "%Y-%m-%d %H:%M")
    month = _MONTH.search(text)
    if month is None:
        return None
    # The year in which it was last that day, and not later than now; clocks of one machine may differ by a moment.
    year = gmtime(now).tm_year
    for candidate in (year + 1, year, year - 1, year - 2, year - 3, year - 4):  # 29 February
        seconds = _seconds(f"{candidate} {month[1]} {month[2]} {month[3]}", "%Y %b %d %H:%M")
        if seconds is not None and seconds <= now + _HALF_A_DAY:
            return seconds
    return None


def _seconds(text: str, form: str) -> float | None:
    try:
        return float(timegm(strptime(text, form)))
    except ValueError:
        return None
