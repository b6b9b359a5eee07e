"""What the imports of the bridge weigh, each in a process of its own beside a bare interpreter."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.rows import Row, Section, progress

if TYPE_CHECKING:
    from tests.bench.place import Lab
    from tests.bench.scale import Scale

IMPORTS = (
    "pykka",
    "psutil",
    "requests",
    "paramiko",
    "prompt_toolkit",
    "PIL.Image",
    "nssh.launch.launcher",
    "actors.tree",
)

_PROGRAM = """
import time
begun = time.perf_counter()
{line}
seconds = time.perf_counter() - begun
with open("/proc/self/smaps_rollup") as file:
    sizes = dict(line.split()[:2] for line in file if line.startswith("P"))
print(seconds, sizes["Pss:"])
"""


def measure(lab: Lab, scale: Scale) -> Section:
    """Import each and ask the kernel for the proportional set size."""
    if sys.platform != "linux":
        progress("memory is only measured on Linux")
        return Section("What imports cost", [])
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in ("pass", *IMPORTS)}
    for turn in range(scale.runs + 1):
        for name, found in samples.items():
            line = "pass" if name == "pass" else f"import {name}"
            argv = [sys.executable, "-P", "-c", _PROGRAM.format(line=line)]
            done = subprocess.run(argv, env=lab.env, capture_output=True, text=True, check=True)
            seconds, size = done.stdout.split()
            if turn:
                found.append((float(seconds), float(size) * 1024 / 1e6))
    bare = statistics.median(size for _, size in samples["pass"])
    rows = []
    for name in IMPORTS:
        rows.append(Row(f"import {name}", tuple(seconds for seconds, _ in samples[name])))
        rows.append(Row(f"import {name}, memory", tuple(max(0.0, size - bare) for _, size in samples[name]), "MB"))
    return Section("What imports cost", rows, f"Beyond a bare interpreter, whose own share is {bare:.1f} MB.")


def loaded(pid: int) -> list[str]:
    """Return which large libraries a process has, by the compiled modules that are mapped into it."""
    marks = {"psutil": "_psutil", "paramiko": "cryptography", "pillow": "_imaging", "tls": "_ssl."}
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        mapped = {os.path.realpath(line.split()[-1]) for line in file if ".so" in line}
    return [name for name, mark in marks.items() if any(mark in path for path in mapped)]
