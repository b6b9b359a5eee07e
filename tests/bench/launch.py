"""The launcher's way to ssh: how long it takes, what it imports, which files it opens and what it starts."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.rows import Row, Section, interleaved, minus, plus, progress
from tests.bench.stamp import MARK, Stamp

if TYPE_CHECKING:
    from tests.bench.place import Lab
    from tests.bench.scale import Scale

IMPORTS = 0.035
"""Seconds that the imports may take."""

_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|(\s+)(\S+)")

# Loaded by the interpreter's own start; a hook that runs in the launcher itself, from its first moment.
_AUDIT = """\
import os, sys
def watch(event, arguments, out=os.open(os.environ["BENCH_AUDIT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)):
    if event in ("open", "os.posix_spawn"):
        what = arguments[0]
        if isinstance(what, (str, bytes)):
            words = [os.fsdecode(word) for word in arguments[1]] if event != "open" else []
            os.write(out, (event + "\\t" + " ".join([os.fsdecode(what), *words[1:2]]) + "\\n").encode())
sys.addaudithook(watch)
"""


class Watched(NamedTuple):
    """What a launcher did before it started ssh.

    Attributes:
        twice: Files that were opened more than once.
        files: How many were opened.
        started: Programs that were started, ssh itself among them; each with its first argument.
    """

    twice: list[str]
    files: int
    started: list[str]


def measure(lab: Lab, scale: Scale) -> Section:
    """Time the way to ssh beside what it can't do without: an interpreter, and `ssh -G`."""
    stamp = Stamp(lab)
    argv = lab.nssh("--ssh", "devbox")
    times = interleaved(
        scale.runs,
        {
            "nssh until ssh starts": lambda: stamp.until(*argv),
            "the script alone": lambda: stamp.until(os.fspath(stamp.script)),
            "ssh -G": lambda: stamp.whole(os.fspath(stamp.script), "-G", "devbox"),
            "python -c pass": lambda: stamp.whole(sys.executable, "-c", "pass"),
        },
    )
    before = minus(times["nssh until ssh starts"], times["the script alone"])
    rows = [
        Row("until ssh starts", before, "ms", plus(times["python -c pass"], times["ssh -G"]), "bare python + ssh -G")
    ]
    imports, foreign, slowest = [], set[str](), ""
    # What an environment's own start brings (the .pth files of an installation) is no import of ours.
    start = import_times(stamp.run(sys.executable, "-X", "importtime", "-P", "-c", "pass").stderr)
    for _ in range(1 if scale.quick else scale.runs):
        told = import_times(stamp.run(sys.executable, "-X", "importtime", "-P", "-m", "nssh", "--ssh", "devbox").stderr)
        lab.settle()
        imports.append(sum(told.values()))
        foreign |= {name for name in told.keys() - start.keys() if not _known(name)}
        slowest = ", ".join(f"{name} {told[name] * 1000:.1f}" for name in sorted(told, key=told.__getitem__)[:-9:-1])
    watched = watch(lab, stamp)
    rows += [
        Row("imports until then, -X importtime", tuple(imports), "ms", budget=IMPORTS),
        Row("imports beyond the standard library", (len(foreign),), "", budget=0),
        Row("files opened twice", (len(watched.twice),), "", budget=0, note=", ".join(watched.twice)),
        Row("programs started, ssh included", (len(watched.started),), "", budget=2),
    ]
    progress(f"imports: {slowest}; foreign: {sorted(foreign)}; {watched}")
    text = (
        f"Slowest imports (ms): {slowest}. Files opened: {watched.files}. Programs started: `ssh -G`, then ssh. "
        "`-X importtime` slows imports down a little; the interpreter's own start is among them."
    )
    return Section("The way to ssh", rows, text)


def import_times(stderr: str) -> dict[str, float]:
    """Read what `-X importtime` wrote before ssh ran: seconds of each module itself, by name.

    What keeps the bridge is left out: the launcher imports it once it has started ssh, while that is still on its way
    to the mark (tests/unit/test_layers.py looks at the moment of the start itself).
    """
    found = _IMPORT.findall(stderr.partition(MARK)[0])
    return {name: int(own) / 1e6 for own, _, name in found if name.partition(".")[0] != "actors"}


def _known(name: str) -> bool:
    root = name.partition(".")[0]
    return root in sys.stdlib_module_names or root == "nssh"


def watch(lab: Lab, stamp: Stamp) -> Watched:
    """Run the launcher once with an audit hook in it."""
    site, record = lab.client.directory / "site", lab.client.directory / "audit"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_AUDIT)
    record.write_bytes(b"")
    path = os.pathsep.join([os.fspath(site), stamp.env["PYTHONPATH"]])
    before = dict(stamp.env)
    stamp.env |= {"PYTHONPATH": path, "BENCH_AUDIT": os.fspath(record)}
    try:
        stamp.run(sys.executable, "-P", "-m", "nssh", "--ssh", "devbox")
    finally:
        stamp.env = before
    lab.settle()
    return audited(record.read_text())


def audited(record: str) -> Watched:
    """Read what the hook wrote: of the launcher alone, up to its start of ssh itself."""
    opened: Counter[str] = Counter()
    started: list[str] = []
    for line in record.splitlines():
        event, _, what = line.partition("\t")
        if event == "open":
            opened[what] += 1
            continue
        started.append(what)
        if not what.endswith(" -G"):
            break  # the bridge, which comes behind ssh, has the hook, too
    # Where output goes, and what a directory's listing or a lock is read from, is no file that is read.
    twice = [path for path, count in opened.items() if count > 1 and path != os.devnull]
    return Watched(sorted(twice), len(opened), started)
