"""Messages through a live bridge: how long one takes to its effect, how many it handles, and what a backlog takes."""

from __future__ import annotations

import json
import os
import select
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nssh.wire.envelope import Envelope, encode
from nssh.wire.http import Client
from tests.bench.place import DELAY, LINKS
from tests.bench.rows import Row, Section, progress, quantile
from tests.lab import ntfy
from tests.lab.proxy import DelayProxy
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.state.session_records import Record
    from tests.bench.place import Lab
    from tests.bench.scale import Scale

_LIMIT = 180.0
BACKLOG = 3.0
"""Seconds for a backlog of 10,000."""


class Clipboard:
    """A clipboard of the user's own: a command that writes what it gets to a pipe, where its effect is seen at once."""

    def __init__(self, lab: Lab) -> None:
        path = lab.client.home / "copied"
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        script = lab.client.home / "copy"
        script.write_text(f"#!/bin/sh\nread -r line\nprintf '%s\\n' \"$line\" > {path}\n")
        script.chmod(0o755)
        self.config = f'[clipboard]\ncopy = ["{script}"]\npaste = ["true"]\n'
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, text: str) -> None:
        """Wait until a text is on the clipboard.

        Raises:
            TimeoutError: It did not come.
        """
        seen = b""
        while text.encode() + b"\n" not in seen:
            if not select.select([self._fd], [], [], _LIMIT)[0]:
                raise TimeoutError(f"{text} is not on the clipboard")
            seen += os.read(self._fd, 65536)

    def close(self) -> None:
        os.close(self._fd)


def message(text: str) -> bytes:
    """Return a write to the clipboard."""
    return encode(Envelope("clip-write", mime="text/plain", body=f"{text}\n".encode())).encode()


def publish(client: Client, topic: str, text: str) -> None:
    """Publish a write to the clipboard.

    Raises:
        RuntimeError: It was not accepted.
    """
    answer = client.request("POST", f"/{topic}", (("Content-Type", "text/plain"),), message(text))
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}")


def measure(lab: Lab, scale: Scale) -> Section:
    """Publish to a session on the relay and to one on ntfy, over either link."""
    rows = []
    relay = f"unix:{lab.remote.state}/nssh/relay.sock"
    for host, link in LINKS.items():
        rows += _live(lab, scale, host, "relay", reach=relay, label=f"relay, {link}")
    rows += _replay(lab, scale, "relay", relay)
    try:
        ntfy.ensure_ntfy()
    except ntfy.NtfyMissingError as error:
        progress(f"no ntfy, so its rows are missing: {error}")
    else:
        with ntfy.running() as server:
            with DelayProxy("127.0.0.1", server.port, delay=DELAY) as link_:
                far = f"http://127.0.0.1:{link_.port}"
                rows += _live(lab, scale, "devbox", far, reach=server.url, label="ntfy, 40 ms")
            rows += _live(lab, scale, "direct", server.url, reach=server.url, label="ntfy, loopback")
            rows += _replay(lab, scale, server.url, server.url)
    lab.use_server("relay")
    text = (
        "One message at a time is published on the remote; its effect is a command that the bridge starts, which reads "
        "the text. The many are published as fast as the server takes them; what the log of the session has received "
        "counts. The backlog is published while no session lives."
    )
    return Section("Messages", rows, text)


def _live(lab: Lab, scale: Scale, host: str, server: str, *, reach: str, label: str) -> list[Row]:
    clipboard = Clipboard(lab)
    lab.use_server(server, clipboard.config)
    count = max(2, scale.burst // 10)
    try:
        with lab.session(host) as record, Client(reach, timeout=30.0) as client:
            publish(client, record.topic, "warm")
            clipboard.wait("warm")
            times = []
            for number in range(count):
                begun = time.monotonic()
                publish(client, record.topic, f"n{number}")
                clipboard.wait(f"n{number}")
                times.append(time.monotonic() - begun)
    finally:
        clipboard.close()
    # The clipboard in memory, now: what is counted is messages, not processes that they start.
    lab.use_server(server)
    rates = []
    with lab.session(host) as record, Client(reach, timeout=30.0) as client:
        for _ in range(_runs(scale)):
            begun = time.monotonic()
            wait = _received(record, scale.burst)
            for number in range(scale.burst):
                publish(client, record.topic, f"n{number}")
            wait()
            rates.append(scale.burst / (time.monotonic() - begun))
    progress(f"{label}: {quantile(times, 0.5) * 1000:.1f} ms, {rates} /s")
    return [
        Row(f"publish → effect, p50, {label}", tuple(times)),
        Row(f"publish → effect, p99, {label}", (quantile(times, 0.99),)),
        Row(f"messages/s, live, {label}", tuple(rates), "/s"),
    ]


def _replay(lab: Lab, scale: Scale, server: str, reach: str) -> list[Row]:
    """Start a session for which many messages wait; return how long they take beyond a session for which none do."""
    lab.use_server(server)
    name = "relay" if server == "relay" else "ntfy"
    seconds = []
    # Each time a topic of its own, of which the relay keeps 20,000 messages.
    for _ in range(_runs(scale)):
        shutil.rmtree(lab.laptop.state / "topics")
        with lab.session("direct") as record:
            topic = record.topic
        with Client(reach, timeout=30.0) as client:
            for number in range(scale.backlog):
                publish(client, topic, f"n{number}")
        with lab.session("direct") as record:
            _received(record, scale.backlog, fresh=True)()
            # The last line of a replay: until then the log is still written to, and may be rotated.
            wait_until(lambda: b'"subscribe-up"' in _log(record), "the replay is over", _LIMIT)
            seconds.append(_span(record))
    title = f"backlog of {scale.backlog}, exactly once, {name}"
    rate = tuple(scale.backlog / each for each in seconds)
    return [Row(title, tuple(seconds), budget=BACKLOG), Row(f"messages/s, replayed, {name}", rate, "/s")]


def _runs(scale: Scale) -> int:
    """At most seven of those with many messages: the relay keeps 100,000 in all."""
    return 1 if scale.quick else min(scale.runs, 7)


def _received(record: Record, count: int, *, fresh: bool = False) -> Callable[[], None]:
    """Return what waits until the session's log has `count` more messages received."""
    already = 0 if fresh else _log(record).count(_MARK)
    return lambda: wait_until(
        lambda: _log(record).count(_MARK) >= already + count, f"{count} messages are handled", _LIMIT
    )


_MARK = b'"msg-recv"'


def _log(record: Record) -> bytes:
    """Return the whole log, what was rotated away first."""
    path = Path(record.log)
    paths = sorted(path.parent.glob(f"{path.name}*"), key=lambda each: each.name, reverse=True)
    data = b"".join(each.read_bytes() for each in paths if each.suffix != ".err")
    return data[: data.rfind(b"\n") + 1]  # a line that is being written is not there yet


def _span(record: Record) -> float:
    """Return the seconds from the log's first line of this session to the last message; each id came once.

    Raises:
        RuntimeError: A message came twice.
    """
    events = [json.loads(line) for line in _log(record).splitlines()]
    received = [event for event in events if event["event"] == "msg-recv"]
    if len({event["id"] for event in received}) != len(received):
        raise RuntimeError("a message came twice")
    return max(_when(event["ts"]) for event in received) - _when(events[0]["ts"])


def _when(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
