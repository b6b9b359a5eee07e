"""What grows with use: many live sessions, long logs, a full ledger. Flat, or as the table says."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

import psutil

from nssh.base import process
from nssh.bus.ledger import RING, Ledger
from tests.bench.rows import Row, Section, interleaved, minus
from tests.bench.stamp import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bench.place import Lab
    from tests.bench.scale import Scale

_LINE = b'{"ts": "2030-01-01T00:00:00.000000Z", "event": "msg-recv", "side": "session", "pid": 1, "id": "%08d"}\n'


class Crowd:
    """Live sessions of other hosts: a process and a record each, and one thread that answers on all their sockets."""

    def __init__(self, lab: Lab, count: int) -> None:
        self._directory = lab.laptop.state / "sessions"
        self._count = count
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            near, far = socket.socketpair()
            stack.callback(far.close)
            selector.register(far, selectors.EVENT_READ)
            for number in range(self._count):
                # An environment of its own: what belongs to the laptop is waited for when a session ends.
                sleeper = subprocess.Popen(["sleep", "3600"], env={"PATH": os.environ["PATH"]})
                stack.callback(sleeper.wait)
                stack.callback(sleeper.kill)
                path = self._directory / f"{sleeper.pid}.json"
                answering = socket.socket(socket.AF_UNIX)
                stack.callback(answering.close)
                answering.bind(os.fspath(path.with_suffix(".sock")))
                answering.listen(8)
                stack.callback(path.with_suffix(".sock").unlink, missing_ok=True)
                path.write_text(json.dumps(_record(sleeper.pid, number, os.fspath(path.with_suffix(".sock")))))
                stack.callback(path.unlink, missing_ok=True)
                selector.register(answering, selectors.EVENT_READ)
            thread = threading.Thread(target=_answer, args=(selector, far), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(near.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _record(pid: int, number: int, path: str) -> dict[str, object]:
    host = f"host{number}.example.com"
    return {
        "pid": pid, "target": host, "host": f"host{number}", "topic": f"nssh_{number:020d}", "server": "relay",
        "started": "2030-01-01T00:00:00Z", "log": f"/nonexistent/{number}", "birth": process.birth(pid),
        "key": f"somebody@{host}:22", "socket": path, "role": "leader", "transport": "ssh", "bus": "up",
        "bridge": pid, "serial": "0", "version": "0",
    }  # fmt: skip


def _answer(selector: selectors.BaseSelector, end: socket.socket) -> None:
    """Say that all is well to whoever connects, until `end` can be read."""
    while True:
        for key, _ in selector.select():
            if key.fileobj is end:
                return
            assert isinstance(key.fileobj, socket.socket)
            with key.fileobj.accept()[0] as connection:
                connection.sendall(b'{"alive": true, "rtt": 0.001}\n')


def measure(lab: Lab, scale: Scale) -> Section:
    """Measure each beside the same with nothing there."""
    rows = [*_launch(lab, scale), *_status(lab, scale), *_tail(lab, scale), *_ledger(lab, scale)]
    text = (
        "Each beside the same with nothing there. The sessions are of other hosts; `nssh status` asks each over its "
        "control socket. The spool at its cap is in the table of the relay."
    )
    return Section("Growth", rows, text)


def _launch(lab: Lab, scale: Scale) -> list[Row]:
    stamp = Stamp(lab)
    argv = lab.nssh("--ssh", "devbox")
    times: dict[int, tuple[float, ...]] = {}
    for count in (0, 100) if scale.quick else (0, 10, 100):
        with Crowd(lab, count):
            ways = {
                f"{count} records": lambda: stamp.until(*argv),
                "the script alone": lambda: stamp.until(os.fspath(stamp.script)),
            }
            found = interleaved(scale.runs, ways)
        times[count] = minus(found[f"{count} records"], found["the script alone"])
    return [
        Row(
            f"until ssh starts, {count} live sessions",
            times[count],
            "ms",
            times[0] if count else (),
            "none" * bool(count),
        )
        for count in times
    ]


def _status(lab: Lab, scale: Scale) -> list[Row]:
    def status() -> float:
        begun = time.monotonic()
        done = lab.laptop.run("status")
        if done.returncode:
            raise RuntimeError(done.stderr)
        return time.monotonic() - begun

    none = interleaved(scale.runs, {"status, no sessions": status})["status, no sessions"]
    with Crowd(lab, 100):
        text = lab.laptop.run("status").stdout
        if text.count("answers in") != 100:
            raise RuntimeError(f"100 sessions should answer: {text[:500]}")
        many = interleaved(scale.runs, {"status, 100 sessions": status})["status, 100 sessions"]
    return [Row("nssh status, 100 sessions", many, "ms", none, "none")]


def _tail(lab: Lab, scale: Scale) -> list[Row]:
    """Follow one live session's log: from the start to its last events, and then to a new one."""
    rows = []
    found = {}
    large = 1_000_000 if scale.quick else 100_000_000
    for size in (10_000, large):
        first, followed, memory = [], [], []
        for _ in range(scale.runs):
            with _logged(lab, size) as log, _tailing(lab) as (tail, line):
                first.append(line())
                begun = time.monotonic()
                with log.open("ab") as file:
                    file.write(_LINE % 99999999)
                line()
                followed.append(time.monotonic() - begun)
                memory.append(psutil.Process(tail.pid).memory_info().rss / 1e6)
        found[size] = (tuple(first), tuple(followed), tuple(memory))
    for number, (what, unit) in enumerate(
        (("to the last events", "ms"), ("from an event to its line", "ms"), ("resident memory", "MB"))
    ):
        small = found[10_000][number]
        rows.append(
            Row(f"status --tail, log of {large // 1_000_000} MB, {what}", found[large][number], unit, small, "10 KB")
        )
    return rows


@contextlib.contextmanager
def _logged(lab: Lab, size: int) -> Iterator[Path]:
    with Crowd(lab, 1):
        (path,) = (lab.laptop.state / "sessions").glob("*.json")
        log = lab.laptop.state / "logs" / f"bench-{size}.jsonl"
        lines = b"".join(_LINE % number for number in range(min(size, 1_000_000) // 100))
        with log.open("wb") as file:
            for _ in range(max(1, size // 1_000_000)):
                file.write(lines)
        path.write_text(json.dumps({**json.loads(path.read_text()), "log": os.fspath(log)}))
        try:
            yield log
        finally:
            log.unlink()


@contextlib.contextmanager
def _tailing(lab: Lab) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], float]]]:
    begun = time.monotonic()
    argv = lab.nssh("status", "--tail", "--json")
    with subprocess.Popen(argv, env=lab.laptop.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        stream = tail.stdout
        seen = 0

        def line() -> float:
            """Wait for the last events, or then for one more; return the seconds since the start."""
            nonlocal seen
            for _ in range(1 if seen else 10):
                if not stream.readline():
                    raise RuntimeError("status --tail ended")
            seen = 1
            return time.monotonic() - begun

        try:
            yield tail, line
        finally:
            tail.kill()


def _ledger(lab: Lab, scale: Scale) -> list[Row]:
    """Load what a bridge remembers of a topic, and add to it."""
    path = lab.client.directory / "ledger"

    def ids(count: int) -> Path:
        ledger = Ledger(os.fspath(path.with_suffix(f".{count}")))
        for number in range(count):
            ledger.claim(f"m{number:011d}")
        return path.with_suffix(f".{count}")

    loads, claims = {}, {}
    for count in (100, 1_000 if scale.quick else RING):
        name = os.fspath(ids(count))
        times, added = [], []
        for run in range(scale.runs):
            ledger = Ledger(name)
            begun = time.monotonic()
            ledger.load()
            times.append(time.monotonic() - begun)
            begun = time.monotonic()
            for number in range(100):
                ledger.claim(f"x{run:03d}{number:08d}")
            added.append((time.monotonic() - begun) / 100)
        loads[count], claims[count] = tuple(times), tuple(added)
    few, many = loads
    return [
        Row(f"handled ring of {many} ids, loading", loads[many], "ms", loads[few], f"{few} ids"),
        Row(f"handled ring of {many} ids, one claim", claims[many], "µs", claims[few], f"{few} ids"),
    ]
