"""How large the parts of a run are."""

from __future__ import annotations

from typing import NamedTuple


class Scale(NamedTuple):
    """How much is done.

    Attributes:
        runs: Of each measurement.
        quick: Whether only the rows of the design are wanted.
        look: Seconds for which a session at rest is watched.
        reads: Clipboard reads in a row.
        backlog: Messages that waited.
        burst: Messages published as fast as possible.
        listeners: Idle subscribers of a server.
        spool: Bytes that a server keeps.
    """

    runs: int = 9
    quick: bool = False
    look: float = 60.0
    reads: int = 100
    backlog: int = 10_000
    burst: int = 2_000
    listeners: int = 1_000
    spool: int = 1 << 30


FULL = Scale()
QUICK = Scale(runs=3, quick=True, look=8.0, reads=20, burst=300)
TINY = Scale(runs=1, quick=True, look=0.5, reads=2, backlog=20, burst=10, listeners=5, spool=1 << 20)
"""For the tests of the benchmark itself."""
