"""The relay beside a real ntfy server, on the same contract: durable before 200 is answered, by the same clients."""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from tests.bench import spool
from tests.bench.load import Publisher, Subscriber, listeners, poll, publish_many
from tests.bench.rows import Row, Section, progress, quantile
from tests.lab import ntfy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.place import Lab
    from tests.bench.scale import Scale

ROOT = Path(__file__).resolve().parents[2]


class Relay:
    """The relay as `nssh relay start` runs it."""

    name = "relay"

    def __init__(self, directory: Path, *, roomy: bool = False) -> None:
        self._directory = directory
        self._roomy = roomy
        self._process: subprocess.Popen[str] | None = None
        self.address = os.fspath(directory / "relay.sock")

    def start(self) -> None:
        program = ["-S", "-m", "tests.bench.roomy"] if self._roomy else ["-I", "-S", "nssh/relay/__main__.py"]
        words = ["serve", "--foreground", "--state", os.fspath(self._directory)]
        self._process = subprocess.Popen(
            [sys.executable, *program, *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        is_ready = select.select([self._process.stdout], [], [], 60)[0]
        words = self._process.stdout.readline().split() if is_ready else []
        if words[:1] != ["ready"]:
            raise RuntimeError("the relay did not start")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.communicate()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def fill(self, size: int) -> None:
        """Give it so many bytes of messages and attachments while it is stopped, having run once."""
        spool.fill_relay(self._directory / "relay", size, int(time.time()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Ntfy:
    """A real ntfy server with write-ahead logging, as its own configuration suggests."""

    name = "ntfy"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = ntfy.NtfyServer(directory)
        self.address = str(self._server.port)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @property
    def pid(self) -> int:
        process = self._server._process
        assert process is not None
        return process.pid

    def fill(self, size: int) -> None:
        spool.fill_ntfy(self._directory, size, int(time.time()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


Server = Relay | Ntfy
Pairs = dict[str, list[float]]


def measure(_lab: Lab, scale: Scale) -> Section:
    """Compare everything; without an ntfy server the relay is measured alone."""
    makers = _makers()
    found: dict[str, Pairs] = {}
    with contextlib.ExitStack() as stack:
        servers = [make(Path(stack.enter_context(_directory()))) for make in makers]
        for server in servers:
            stack.enter_context(server)
        # In turn, one measurement after another, so that what else runs hits both.
        for what, measured in _MEASURED.items():
            found[what] = {server.name: [] for server in servers}
            for turn in range(scale.runs + 1):
                for server in servers:
                    value = measured(server, scale, turn)
                    if turn:
                        found[what][server.name].append(value)
            progress(f"{what}: { {name: f'{statistics.median(values):.4g}' for name, values in found[what].items()} }")
        latencies = {server.name: _latencies(server, 60 if scale.quick else 1000) for server in servers}
    rows = [
        _row("publishes/s, durable, 1 client", found["one"], "/s", least=True),
        _row("publishes/s, durable, 8 clients", found["eight"], "/s", least=True),
        *(
            _row(
                f"delivery, p{share * 100:g}", {name: [quantile(all_, share)] for name, all_ in latencies.items()}, "ms"
            )
            for share in (0.5, 0.99)
        ),
        _row(f"replay of {scale.backlog}", found["replay"], "ms"),
    ]
    rows += memory(scale, makers)
    text = (
        "The same clients, a process each, ntfy over loopback and the relay over its socket; a message counts once its "
        "200 has come. Both servers write ahead (SQLite, WAL, synchronous=NORMAL). The relay keeps at most 200 "
        "connections; to show it with more, that limit was lifted. The spool is made of 4 KB messages and of "
        "attachments that are files with holes."
    )
    return Section("The relay beside ntfy", rows, text)


def _makers() -> list[Callable[[Path], Server]]:
    try:
        ntfy.ensure_ntfy()
    except ntfy.NtfyMissingError as error:
        progress(f"no ntfy to compare with: {error}")
        return [Relay]
    return [Relay, Ntfy]


def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp")


def _row(what: str, found: Pairs, unit: str, *, least: bool = False) -> Row:
    baseline = tuple(found.get("ntfy", ()))
    return Row(what, tuple(found["relay"]), unit, baseline, "ntfy" if baseline else "", least=least)


def _one(server: Server, scale: Scale, turn: int) -> float:
    return publish_many(server.address, f"one{turn}", 1, scale.burst // 2)


def _eight(server: Server, scale: Scale, turn: int) -> float:
    return publish_many(server.address, f"eight{turn}", 8, scale.burst)


def _replay(server: Server, scale: Scale, turn: int) -> float:
    if not turn:
        publish_many(server.address, "backlog", 8 if scale.backlog >= 8 else 1, scale.backlog)
    seconds, count = poll(server.address, "backlog")
    if count != scale.backlog // 8 * 8:
        raise RuntimeError(f"{server.name} replayed {count} of {scale.backlog}")
    return seconds


_MEASURED: dict[str, Callable[[Server, Scale, int], float]] = {"one": _one, "eight": _eight, "replay": _replay}


def _latencies(server: Server, count: int) -> list[float]:
    """Return the seconds from each publish to its arrival on a stream; one message is under way at a time."""
    times = []
    with Publisher(server.address, "latency") as publisher, Subscriber(server.address, "latency") as subscriber:
        for _ in range(count):
            begun = time.monotonic()
            publisher.publish()
            subscriber.wait(b'"event":"message"')
            times.append(time.monotonic() - begun)
    return times


def memory(scale: Scale, makers: list[Callable[[Path], Server]]) -> list[Row]:
    """Weigh the servers: fresh, with idle subscribers, with a large spool."""
    sizes: dict[str, Pairs] = {what: {} for what in ("fresh", "many", "spool", "start", "publish")}
    for make in makers:
        with _directory() as name:
            server = Relay(Path(name), roomy=True) if make is Relay else make(Path(name))
            with server:
                sizes["fresh"][server.name] = [_pss(server.pid)]
                with listeners(server.address, scale.listeners):
                    sizes["many"][server.name] = [_pss(server.pid)]
            begun = time.monotonic()
            server.fill(scale.spool)
            progress(f"{server.name}: spool made in {time.monotonic() - begun:.1f} s")
            begun = time.monotonic()
            with server:
                sizes["start"][server.name] = [time.monotonic() - begun]
                sizes["publish"][server.name] = [quantile(_latencies(server, 50), 0.5)]
                sizes["spool"][server.name] = [_pss(server.pid)]
    mb = scale.spool // 1_000_000
    return [
        _row("memory, fresh", sizes["fresh"], "MB"),
        _row(f"memory, {scale.listeners} idle subscribers", sizes["many"], "MB"),
        _row(f"memory, spool of {mb} MB", sizes["spool"], "MB"),
        _row(f"start, spool of {mb} MB", sizes["start"], "ms"),
        _row(f"delivery, spool of {mb} MB", sizes["publish"], "ms"),
    ]


def _pss(pid: int) -> float:
    if sys.platform == "linux":
        return float(psutil.Process(pid).memory_full_info().pss) / 1e6
    return float(psutil.Process(pid).memory_info().rss) / 1e6
