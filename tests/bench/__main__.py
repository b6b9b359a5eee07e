"""How fast nssh is, in ratios against ssh, mosh and ntfy in the same run: `make bench`, `make bench QUICK=1`.

All of it is real: an sshd, a relay, an ntfy server, mosh, and between them and the laptop a link of 20 ms each way
(tests/lab/proxy.py), mosh's datagrams included. What is compared is measured in turn, so that whatever else the machine
does hits all alike. It prints, and judges nothing but whether everything ran. The reasons of the budgets are in
docs/architecture.md, "Budgets".
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

from tests.bench import parts, report
from tests.bench.place import Lab, round_trip
from tests.bench.rows import Section, progress, table
from tests.bench.scale import FULL, QUICK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.scale import Scale


def measure(names: Sequence[str], scale: Scale) -> list[Section]:
    """Run parts, in one lab if any of them needs one, and print each table as soon as it is there."""
    sections = []
    chosen = [part for part in parts.PARTS if part.name in names]
    with Lab() as lab:
        for part in chosen:
            begun, load = time.monotonic(), os.getloadavg()[0]
            found = part.measure(lab, scale)
            seconds, after = time.monotonic() - begun, os.getloadavg()[0]
            progress(f"{part.name} took {seconds:.0f} s; load {load:.1f} before, {after:.1f} after")
            for section in [found] if isinstance(found, Section) else found:
                if section.rows:
                    sys.stdout.write(f"\n{section.title}\n{table(section.rows)}\n")
                    sys.stdout.flush()
                    sections.append(section)
    return sections


def main() -> int:
    known = [part.name for part in parts.PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure nssh beside ssh, mosh and ntfy."
    )
    parser.add_argument("--quick", action="store_true", help="the most important rows, few runs each: about a minute")
    parser.add_argument(
        "--runs", type=int, default=0, help="of each measurement (default 9; quick 3); the median counts"
    )
    parser.add_argument(
        "--first", action="store_true", help="run ahead of all other work of a busy machine (root, Linux)"
    )
    parser.add_argument("--write", metavar="FILE", help="write the tables there, as Markdown")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(known)}")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in known]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    scale = QUICK if arguments.quick else FULL
    if arguments.runs:
        scale = scale._replace(runs=arguments.runs)
    names = arguments.parts or [part.name for part in parts.PARTS if part.quick or not arguments.quick]
    if arguments.first:
        # Inherited by all threads and programs from here on, so that what is compared stays comparable.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    begun, load = time.monotonic(), os.getloadavg()[0]
    rtt = statistics.median(round_trip(20))
    head = f"medians of {scale.runs} runs; a round trip over the link takes {rtt * 1000:.1f} ms; load {load:.1f}"
    sys.stdout.write(f"{head}\n")
    sections = measure(names, scale)
    over = [row.what for section in sections for row in section.rows if row.met is False]
    sys.stdout.write(f"\n{time.monotonic() - begun:.0f} s; over budget: {'; '.join(over) or 'nothing'}\n")
    if arguments.write:
        conditions = report.Conditions(scale.runs, rtt, (load, os.getloadavg()[0]), first=arguments.first)
        report.write(arguments.write, sections, conditions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
