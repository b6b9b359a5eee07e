"""What `who` prints of mosh-servers, as GNU, busybox, FreeBSD and macOS print it with LC_ALL=C and TZ=UTC0."""

from __future__ import annotations

from calendar import timegm
from time import gmtime, strftime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.mosh.who_output import UtmpEntry, read

NOW = float(timegm((2026, 11, 24, 0, 47, 7)))


def minute(*when: int) -> float:
    return float(timegm((*when, 0)))


AT = minute(2026, 11, 24, 0, 46)


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        # GNU coreutils 9.1, recorded.
        ("alice    pts/0        Nov 24 00:46 (127.0.0.1 via mosh [12479])", UtmpEntry(12479, "pts/0", "127.0.0.1", AT)),
        ("alice    pts/1        Nov 24 00:46 (mosh [12487])", UtmpEntry(12487, "pts/1", "", AT)),
        ("alice    pts/1        2026-11-24 00:46 (mosh [12487])", UtmpEntry(12487, "pts/1", "", AT)),
        ("alice    pts/0        Nov 24 00:46   .         12479 (::1 via mosh [12479])",
         UtmpEntry(12479, "pts/0", "::1", AT)),
        # busybox 1.35, recorded.
        ("alice           pts/0           00:01   Nov 24 00:46:10  127.0.0.1 via mosh [12479]",
         UtmpEntry(12479, "pts/0", "127.0.0.1", AT)),
        ("alice           pts/1           00:01   Nov 24 00:46:10  mosh [12487]", UtmpEntry(12487, "pts/1", "", AT)),
        # FreeBSD and macOS: who(1).
        ("alice            pts/3        Nov 24 00:46 (fd00::1%em0 via mosh [812])",
         UtmpEntry(812, "pts/3", "fd00::1%em0", AT)),
        ("alice    ttys003  Nov 24 00:46 \t(mosh [812])", UtmpEntry(812, "ttys003", "", AT)),
        # No year is told, so it is the last day of that name.
        ("alice    pts/1        Dec 31 23:59 (mosh [1])", UtmpEntry(1, "pts/1", "", minute(2025, 12, 31, 23, 59))),
        ("alice    pts/1        Feb 29 12:00 (mosh [1])", UtmpEntry(1, "pts/1", "", minute(2024, 2, 29, 12, 0))),
        # The clock may have been set back a moment.
        ("alice    pts/1        Nov 24 00:50 (mosh [1])", UtmpEntry(1, "pts/1", "", minute(2026, 11, 24, 0, 50))),
        # A form that is not known: the state is, the time is not.
        ("alice    pts/1        24 nov. 00:46 (mosh [1])", UtmpEntry(1, "pts/1", "", None)),
        ("alice    pts/1        Nov 31 00:46 (mosh [1])", UtmpEntry(1, "pts/1", "", None)),
    ],
)  # fmt: skip
def test_lines_of_mosh(line: str, entry: UtmpEntry) -> None:
    assert read(line, NOW) == entry


@pytest.mark.parametrize(
    "line",
    [
        "",
        "alice    pts/0        Nov 24 00:46 (10.0.0.1)",
        "alice    :0           Nov 24 00:46 (:0)",
        # A window of screen in a mosh session.
        "alice    pts/5        Nov 24 00:46 (127.0.0.1 via mosh [12479]:S.0)",
        "alice    pts/5        Nov 24 00:46 (127.0.0.1 via mosh [])",
        "alice    pts/5        Nov 24 00:46 (127.0.0.1 via mosh [99999999999])",
        "mosh [12]",
    ],
)
def test_lines_of_others(line: str) -> None:
    assert read(line, NOW) is None


@given(st.text(), st.floats(0, 99999999999.0))
def test_whatever_it_prints_is_no_error(line: str, now: float) -> None:
    read(line, now)
    entry = read(f"a b {line} (mosh [1])", now)
    assert entry is None or entry.pid == 1


@given(st.integers(86400 * 365, 4102444800), st.integers(0, 300 * 86400))
def test_a_time_without_a_year_is_found_again(now: int, ago: int) -> None:
    then = (now - ago) // 60 * 60
    entry = read(f"a pts/1 {strftime('%b %e %H:%M', gmtime(then))} (mosh [1])", float(now))
    assert entry is not None
    assert entry.written == then
