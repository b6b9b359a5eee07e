"""Reads the lines of `who` about mosh-servers.

mosh-server writes `ADDRESS via mosh [PID]` into utmp while a client is attached, and `mosh [PID]` while detached.
"""

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
    """The client's address; empty while detached."""
    written: float | None
    """When the entry was written, seconds since the epoch; `who` rounds it down to the minute."""


# The line may end with something more: screen adds `:S.0` to the host of each of its windows.
_MOSH = re.compile(r"[\s(](?:(?P<client>[^\s(]+) via )?mosh \[(?P<pid>[0-9]{1,9})\]\)?\s*$")
_ISO = re.compile(r"\b([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2})\b")
# As the C locale has it, without a year.
_MONTH = re.compile(r"\b([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}:[0-9]{2})\b")
_HALF_A_DAY = 43200.0


def read(line: str, now: float) -> UtmpEntry | None:
    """Read a line of `who`, run with LC_ALL=C and TZ=UTC0; return None if it is not about a mosh-server.

    Args:
        line: A line as GNU, busybox, macOS or FreeBSD print it.
        now: The host's time, seconds since the epoch, to find the year that most of them leave out.
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
    # Find the latest year in which that date is not in the future (with a margin), and exists: 29 February may not.
    year = gmtime(now).tm_year
    for candidate in (year + 1, year, year - 1, year - 2, year - 3, year - 4):
        seconds = _seconds(f"{candidate} {month[1]} {month[2]} {month[3]}", "%Y %b %d %H:%M")
        if seconds is not None and seconds <= now + _HALF_A_DAY:
            return seconds
    return None


def _seconds(text: str, form: str) -> float | None:
    try:
        return float(timegm(strptime(text, form)))
    except ValueError:
        return None
