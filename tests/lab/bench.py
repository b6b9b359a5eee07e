"""How fast nssh is, in ratios against ssh and mosh in the same run: `make bench`, `python -m tests.lab.bench --runs 7`.

All of it is real: an sshd, a relay, an ntfy server, mosh, and between them and the laptop a link of 20 ms each way
(tests/lab/proxy.py), mosh's datagrams included. Runs are interleaved, so that whatever else the machine does hits all
alike, and medians are shown. It prints, and judges nothing but whether everything ran; the budgets are DESIGN.md's,
section 9.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from tests.lab import bench_sweep, ntfy
from tests.lab.benched import DELAY, Lab, round_trip
from tests.lab.proxy import DelayProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nssh.records import Record

_SETTLED, _LOOK = 15.0, 10.0
_READS = 100
_TEXT = "what the laptop has copied"


class Row(NamedTuple):
    """One line of the table."""

    what: str
    measured: float
    """In `unit`; times are seconds here and milliseconds in the table."""
    unit: str = "ms"
    baseline: float | None = None
    of: str = ""
    """What the baseline is."""
    budget: float | None = None
    """In the unit, or a multiple of the baseline."""
    relative: bool = False

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        ratio = None if self.baseline is None else self.measured / self.baseline
        budget = verdict = ""
        if self.budget is not None:
            value = ratio if self.relative else self.measured
            verdict = "ok" if value is not None and value <= self.budget else "OVER"
            budget = f"{self.budget:.2f} x" if self.relative else self._show(self.budget)
        base = "" if self.baseline is None else f"{self._show(self.baseline)} {self.of}"
        return (self.what, self._show(self.measured), base, f"{ratio:.2f} x" if ratio else "", budget, verdict)

    def _show(self, value: float) -> str:
        return f"{value * 1000:.0f} ms" if self.unit == "ms" else f"{value:.3g} {self.unit}".strip()


def interleaved(runs: int, ways: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Measure each way `runs` times in turn, after once to warm up; return the medians."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, measure in ways.items():
            seconds = measure()
            if turn:
                times[name].append(seconds)
    for name, values in times.items():
        spread = ", ".join(f"{value * 1000:.0f}" for value in sorted(values))
        _progress(f"{name}: {spread} ms")
    return {name: statistics.median(values) for name, values in times.items()}


def _progress(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


def prompts(lab: Lab, runs: int) -> list[Row]:
    """Time to the remote's prompt."""
    ways = {
        "ssh": lambda: lab.prompt(*lab.client.ssh, "devbox"),
        "nssh --ssh": lambda: lab.prompt(*lab.nssh("--ssh", "devbox")),
    }
    if lab.has_mosh:
        ways["mosh"] = lambda: lab.prompt("mosh", f"--ssh={shlex.join(lab.client.ssh)}", "devbox")
        ways["nssh"] = lambda: lab.prompt(*lab.nssh("devbox"))
    else:
        _progress("mosh is not installed: its rows are missing")
    times = interleaved(runs, ways)
    rows = [Row("prompt: nssh --ssh", times["nssh --ssh"], "ms", times["ssh"], "ssh", 1.10, relative=True)]
    if lab.has_mosh:
        rows.append(Row("prompt: nssh, with mosh", times["nssh"], "ms", times["mosh"], "mosh", 1.00, relative=True))
    return rows


def before_ssh(lab: Lab, runs: int) -> list[Row]:
    """What happens before ssh is started: a script in its place writes down when."""
    stamp = lab.client.directory / "stamp"
    script = lab.client.directory / "stamping-ssh"
    script.write_text(
        "#!/bin/bash\n"
        f'[ "$1" != -G ] || exec {shlex.join(lab.client.ssh)} "$@"\n'
        f"printf %s $EPOCHREALTIME > {shlex.quote(os.fspath(stamp))}\n"
    )
    script.chmod(0o755)
    env = {**lab.env, "NSSH_SSH": os.fspath(script)}

    def until_stamp(*argv: str) -> float:
        begun = time.time()
        _run(argv, env)
        lab.settle()
        return float(stamp.read_text()) - begun

    def whole(*argv: str) -> float:
        begun = time.time()
        _run(argv, env)
        return time.time() - begun

    times = interleaved(
        runs,
        {
            "nssh until ssh starts": lambda: until_stamp(*lab.nssh("--ssh", "devbox")),
            "the script alone": lambda: until_stamp(os.fspath(script)),
            "ssh -G": lambda: whole(os.fspath(script), "-G", "devbox"),
            "python -c pass": lambda: whole(sys.executable, "-c", "pass"),
        },
    )
    told = _run([sys.executable, "-X", "importtime", "-P", "-m", "nssh", "--ssh", "devbox"], env).stderr
    lab.settle()
    imports = [(int(own), name) for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", told)]
    slowest = ", ".join(f"{name} {own / 1000:.1f}" for own, name in sorted(imports, reverse=True)[:12])
    _progress(f"{len(imports)} imports, {sum(own for own, _ in imports) / 1000:.1f} ms; slowest: {slowest}")
    before = times["nssh until ssh starts"] - times["the script alone"]
    return [
        Row("before ssh starts", before, "ms", times["python -c pass"] + times["ssh -G"], "bare python + ssh -G"),
    ]


def _run(argv: tuple[str, ...] | list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)


class _Shims:
    """The shims, timed on the remote while a session is live."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._count = 0
        self._landed = 0.0
        self.lost = 0

    def bare(self) -> float:
        """Start Python as the shims do, and nothing more."""
        return self._timed("/usr/bin/python3 -IS -c 0")

    def open(self) -> float:
        """Open a URL; `landed` then tells the time until the browser was called."""
        self._count += 1
        url = f"https://example.com/{self._count}"
        done = self._lab.shell.run(f"xdg-open {url}")
        if done.status:
            raise RuntimeError(f"xdg-open: {done.output.decode()}")
        self._landed = self._lab.wait_opened(url) - done.begun
        return done.seconds

    def landed(self) -> float:
        """Return how long the last URL took to the browser."""
        return self._landed

    def copy(self) -> None:
        """Put text on the laptop's clipboard, and wait until it is there."""
        done = self._lab.shell.run(f"sh -c 'printf %s \"{_TEXT}\" | xclip -selection clipboard'")
        if done.status:
            raise RuntimeError(f"xclip: {done.output.decode()}")

    def paste(self) -> float:
        """Read the laptop's clipboard."""
        done = self._lab.shell.run("xclip -selection clipboard -o")
        if done.status or done.output != _TEXT.encode():
            self.lost += 1
            _progress(f"xclip -o: status {done.status}, {done.output.decode()!r}")
        return done.seconds

    def _timed(self, command: str) -> float:
        return self._lab.shell.run(command).seconds


def on_relay(lab: Lab, runs: int) -> list[Row]:
    """The shims by the relay, and what an idle session costs."""
    rtt = statistics.median(round_trip(20))
    with lab.session() as record:
        idle = idle_cost(record)
        shims = _Shims(lab)
        shims.copy()
        times = interleaved(
            runs,
            {
                "python3 -IS": shims.bare,
                "xdg-open": shims.open,
                "to the browser": shims.landed,
                "xclip -o": shims.paste,
            },
        )
    rows = [
        Row("xdg-open, relay", times["xdg-open"], "ms", times["python3 -IS"], "bare python3 -IS", 0.045),
        Row("xdg-open to the browser's start", times["to the browser"], "ms", rtt / 2, "one way"),
        Row("xclip -o, relay", times["xclip -o"], "ms", rtt, "round trip", 2 * DELAY + 0.045),
    ]
    return rows + idle


def idle_cost(record: Record) -> list[Row]:
    """Memory and wake-ups of launcher and bridge while nothing happens."""
    if sys.platform != "linux":
        _progress("memory and wake-ups are only measured on Linux")
        return []
    time.sleep(_SETTLED)  # a benchmark may: the measure is what happens in a time without events
    pids = (record.pid, record.bridge)
    size = {pid: psutil.Process(pid).memory_full_info().pss / 1e6 for pid in pids}
    before = {pid: _switches(pid) for pid in pids}
    time.sleep(_LOOK)
    woken = {pid: (_switches(pid) - before[pid]) / _LOOK for pid in pids}
    _progress(f"launcher {size[record.pid]:.1f} MB, {woken[record.pid]:.1f}/s; bridge {size[record.bridge]:.1f} MB, "
              f"{woken[record.bridge]:.1f}/s")  # fmt: skip
    return [
        Row("idle: launcher + bridge, PSS", sum(size.values()), "MB", budget=45),
        Row("idle: wake-ups", sum(woken.values()), "/s", budget=1),
    ]


def _switches(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep so far."""
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


def killed_bridge(lab: Lab, runs: int) -> list[Row]:
    """A URL given to the remote at the moment in which the bridge is killed."""
    times = []
    for run in range(runs):
        with lab.session() as record:
            begun = time.time()
            os.kill(record.bridge, signal.SIGKILL)
            url = f"https://example.com/killed/{run}"
            done = lab.shell.run(f"xdg-open {url}")
            if done.status:
                raise RuntimeError(f"xdg-open: {done.output.decode()}")
            times.append(lab.wait_opened(url) - begun)
    _progress("bridge killed: " + ", ".join(f"{seconds:.2f}" for seconds in sorted(times)) + " s")
    return [Row("bridge killed, next URL opens", statistics.median(times), "s", budget=1.5)]


def on_ntfy(lab: Lab, runs: int) -> list[Row]:
    """Clipboard reads by a real ntfy server: from afar, and on loopback, where nothing gives the races time to pass."""
    try:
        ntfy.ensure_ntfy()
    except ntfy.NtfyMissingError as error:
        _progress(f"no ntfy, so its rows are missing: {error}")
        return []
    rows = []
    with ntfy.running() as server:
        rtt = statistics.median(round_trip(20))
        with DelayProxy("127.0.0.1", server.port, delay=DELAY) as link:
            lab.use_server(f"http://127.0.0.1:{link.port}")
            with lab.session():
                shims = _Shims(lab)
                shims.copy()
                times = interleaved(runs, {"xclip -o, ntfy": shims.paste})
            rows.append(Row("xclip -o, ntfy", times["xclip -o, ntfy"], "ms", rtt, "round trip", 0.170))
        lab.use_server(server.url)
        with lab.session():
            shims = _Shims(lab)
            shims.copy()
            for _ in range(_READS):
                shims.paste()
            rows.append(Row(f"reads lost of {_READS}, ntfy on loopback", shims.lost, "", budget=0))
    lab.use_server("relay")
    return rows


def _table(rows: list[Row]) -> str:
    lines = [("what", "measured", "baseline", "ratio", "budget", ""), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(line.rstrip() for line in padded)


def sweep(lab: Lab, runs: int) -> list[Row]:
    """`nssh sweep --all` from its start to its end."""
    with bench_sweep.ways(lab) as ways:
        if not ways:
            return []
        times = interleaved(runs, ways)
    what = f"sweep --all, {bench_sweep.SERVERS} servers"
    return [Row(what, times["sweep"], "ms", times["logins"], f"{bench_sweep.SERVERS} x ssh host true")]


_PARTS = {
    "prompt": prompts,
    "sweep": sweep,
    "start": before_ssh,
    "relay": on_relay,
    "killed": killed_bridge,
    "ntfy": on_ntfy,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.bench", description="Measure nssh beside ssh and mosh.")
    parser.add_argument("--runs", type=int, default=7, help="of each measurement; the median counts")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(_PARTS)}")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in _PARTS]
    if unknown or arguments.runs < 1:
        parser.error(f"no such part: {', '.join(unknown)}" if unknown else "at least one run")
    rows: list[Row] = []
    with Lab() as lab:
        rtt = statistics.median(round_trip(20))
        for name, part in _PARTS.items():
            if not arguments.parts or name in arguments.parts:
                rows += part(lab, arguments.runs)
    head = f"medians of {arguments.runs} runs; a round trip over the link takes {rtt * 1000:.1f} ms"
    sys.stdout.write(f"{head}\n{_table(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
