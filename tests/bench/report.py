"""docs/benchmarks.md: what a full run measured, on which machine, with which versions, and when."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from nssh import __version__
from tests.bench.rows import HEAD
from tests.lab import ntfy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.rows import Row, Section

END = "<!-- Written by `make bench` up to here; what follows is written by hand. -->"
_LIBRARIES = ("pykka", "requests", "urllib3", "paramiko", "psutil", "prompt_toolkit")


class Conditions(NamedTuple):
    """How a run was made.

    Attributes:
        runs: Of each measurement.
        rtt: Of the link, seconds.
        load: The machine's, before and after.
        first: Whether the benchmark ran at real-time priority.
    """

    runs: int
    rtt: float
    load: tuple[float, float]
    first: bool = False


def write(path: str, sections: Sequence[Section], conditions: Conditions) -> None:
    """Replace the written part of a page, and keep what stands behind `END`."""
    page = Path(path)
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    tail = old.partition(END)[2]
    page.write_text(f"{_page(sections, conditions)}{END}{tail or chr(10)}", encoding="utf-8")


def _page(sections: Sequence[Section], conditions: Conditions) -> str:
    runs, rtt, load, first = conditions
    over = [row.what for section in sections for row in section.rows if row.met is False]
    lines = [
        "# Benchmarks",
        "",
        "`make bench` measures all of this again and writes this page; `make bench QUICK=1` takes a minute and prints.",
        "",
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, nssh {__version__}. {_machine()}",
        f"{_versions()}",
        "",
        f"Medians of n samples ({runs} runs; where n is 1 it was measured once), the least and the largest. What is",
        f"compared was measured in turn. The link has 20 ms each way; a round trip over it takes {rtt * 1000:.1f} ms.",
        f"Load of the machine, this benchmark included: {load[0]:.1f} when it began, {load[1]:.1f} when it ended.",
        *(
            ["The machine had other work: the benchmark ran ahead of it, at real-time priority (`--first`)."]
            if first
            else []
        ),
        "",
        f"Over budget: {'; '.join(over)}." if over else "Every budget is met.",
        "",
    ]
    for section in sections:
        lines += [f"## {section.title}", "", *_table(section.rows), ""]
        lines += [f"- {row.what}: {row.note}" for row in section.rows if row.note]
        if any(row.note for row in section.rows):
            lines.append("")
        if section.text:
            lines += [section.text, ""]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [HEAD, ("---", *("---:" for _ in HEAD[1:-1]), "---"), *(row.cells() for row in rows)]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def _machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found[1] if found else model
    except OSError:
        pass  # not Linux
    memory = psutil.virtual_memory().total / (1 << 30)
    # platform.node() is nobody's business.
    release = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {release}, {model}, {os.cpu_count()} cores, {memory:.0f} GB."


def _versions() -> str:
    words = [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in _LIBRARIES)]
    for name, argv in (("OpenSSH", ["ssh", "-V"]), ("mosh", ["mosh", "--version"]), ("ntfy", _ntfy())):
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if found := re.search(r"(\d+\.\d+(?:\.\d+)?(?:p\d+)?)", done.stdout + done.stderr):
            words.append(f"{name} {found[1]}")
    return ", ".join(words) + "."


def _ntfy() -> list[str]:
    try:
        return [os.fspath(ntfy.ensure_ntfy()), "--help"]
    except ntfy.NtfyMissingError:
        return [sys.executable, "-c", ""]
