"""The shims as whole processes, timed on the remote while a session is live."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tests.bench.place import DELAY, LINKS, round_trip
from tests.bench.rows import Row, Section, interleaved, progress, quantile
from tests.lab import ntfy
from tests.lab.proxy import DelayProxy

if TYPE_CHECKING:
    from tests.bench.place import Lab
    from tests.bench.scale import Scale

_TEXT = "what the laptop has copied"
BARE = "/usr/bin/python3 -IS -c 0"


class Shims:
    """Calls them, by their names on the remote's PATH or from a directory of their own."""

    def __init__(self, lab: Lab, directory: str = "", bare: str = BARE) -> None:
        self._lab = lab
        self._prefix = f"{directory}/" if directory else ""
        self._bare = bare
        self._count = 0
        self._landed = 0.0
        self.lost = 0

    def bare(self) -> float:
        """Start Python as the shims do, and nothing more."""
        return self._lab.shell.run(self._bare).seconds

    def open(self) -> float:
        """Open a URL; `landed` then tells the time until the browser was called."""
        self._count += 1
        url = f"https://example.com/{id(self)}/{self._count}"
        done = self._lab.shell.run(f"{self._prefix}xdg-open {url}")
        if done.status:
            raise RuntimeError(f"xdg-open: {done.output.decode()}")
        self._landed = self._lab.wait_opened(url) - done.begun
        return done.seconds

    def landed(self) -> float:
        """Return how long the last URL took to the browser."""
        return self._landed

    def copy(self) -> float:
        """Put text on the laptop's clipboard."""
        done = self._lab.shell.run(f"{self._prefix}xclip -selection clipboard", stdin=_TEXT)
        if done.status:
            raise RuntimeError(f"xclip -i: {done.output.decode()}")
        return done.seconds

    def paste(self) -> float:
        """Read the laptop's clipboard."""
        done = self._lab.shell.run(f"{self._prefix}xclip -selection clipboard -o")
        if done.status or done.output != _TEXT.encode():
            self.lost += 1
            progress(f"xclip -o: status {done.status}, {done.output.decode()!r}")
        return done.seconds


def on_relay(lab: Lab, scale: Scale) -> Section:
    """Call the shims on the relay, over either link."""
    rows = []
    for host, link in LINKS.items():
        if scale.quick and host == "direct":
            continue
        rtt = tuple(round_trip(20)) if host == "devbox" else ()
        with lab.session(host):
            shims = Shims(lab)
            shims.copy()
            times = interleaved(
                scale.runs,
                {
                    "python3 -IS": shims.bare,
                    "xdg-open": shims.open,
                    "to the browser": shims.landed,
                    "xclip -i": shims.copy,
                    "xclip -o": shims.paste,
                },
            )
        bare = times["python3 -IS"]
        rows += [
            Row(f"xdg-open, relay, {link}", times["xdg-open"], "ms", bare, "bare python3 -IS", 0.045),
            Row(f"xclip -i, relay, {link}", times["xclip -i"], "ms", bare, "bare python3 -IS", 0.045),
            Row(
                f"xclip -o, relay, {link}", times["xclip -o"], "ms",
                rtt or bare, "round trip" if rtt else "bare python3 -IS",
                (2 * DELAY if rtt else 0.0) + 0.045,
            ),
            Row(f"xdg-open to the browser, {link}", times["to the browser"], "ms", times["xdg-open"], "xdg-open"),
        ]  # fmt: skip
    return Section("The shims on the relay", rows)


def on_ntfy(lab: Lab, scale: Scale) -> Section:
    """Call the shims on a real ntfy server: from afar, and on loopback, where races have no time to pass."""
    title = "The shims on ntfy"
    try:
        ntfy.ensure_ntfy()
    except ntfy.NtfyMissingError as error:
        progress(f"no ntfy, so its rows are missing: {error}")
        return Section(title, [])
    rows = []
    with ntfy.running() as server:
        rtt = tuple(round_trip(20))
        with DelayProxy("127.0.0.1", server.port, delay=DELAY) as link:
            lab.use_server(f"http://127.0.0.1:{link.port}")
            with lab.session():
                shims = Shims(lab)
                shims.copy()
                ways = {"xdg-open": shims.open, "xclip -i": shims.copy, "xclip -o": shims.paste}
                times = interleaved(scale.runs, ways)
            rows.append(Row("xdg-open, ntfy, 40 ms", times["xdg-open"], "ms", rtt, "round trip"))
            rows.append(Row("xclip -i, ntfy, 40 ms", times["xclip -i"], "ms", rtt, "round trip"))
            rows.append(Row("xclip -o, ntfy, 40 ms", times["xclip -o"], "ms", rtt, "round trip", 0.170))
        lab.use_server(server.url)
        with lab.session():
            shims = Shims(lab)
            shims.copy()
            reads = tuple(shims.paste() for _ in range(scale.reads))
        rows.append(Row(f"reads lost of {scale.reads}, ntfy on loopback", (shims.lost,), "", budget=0))
        rows.append(Row("xclip -o, ntfy, loopback", reads, "ms", note=f"p99 {quantile(reads, 0.99) * 1000:.0f} ms"))
    lab.use_server("relay")
    return Section(title, rows, f"A round trip takes {statistics.median(rtt) * 1000:.1f} ms.")
