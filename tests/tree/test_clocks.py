"""Clocks that are set back or forward by an hour, the laptop's and the remote's: nobody notices."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from actors.supervision import EventKind
from nssh.bus.client import BusClient
from tests.lab.proxy import DelayProxy
from tests.lab.relay import CHECKOUT, RelayServer
from tests.supervision.support import eventually
from tests.tree.stage import Stage, Theatre

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

HOUR = 3600.0
STEPS = [pytest.param((-HOUR, 0.0, HOUR), id="back"), pytest.param((HOUR, 0.0, -HOUR), id="forward")]

# Python runs this before anything else: a clock that shows as much more as a file says.
SITE = """
import os, time
real, where = time.time, os.environ["CLOCK_OFFSET_FILE"]
def shifted():
    with open(where) as file:
        return real() + float(file.read() or 0)
time.time = shifted
"""


def well(stage: Stage) -> None:
    """See that all is served, that nothing was taken for lost or too old, and that nobody crashed."""
    stage.serves()
    assert stage.record().role == "leader"
    for event in ("messages-lost", "open-held", "read-expired", "standby", "log-lost", "record-failed"):
        assert stage.log(event) == [], event
    assert [event for event in stage.happened if event.kind in {EventKind.CRASHED, EventKind.ABANDONED}] == []


@pytest.mark.parametrize("steps", STEPS)
def test_the_laptop_s_clock_is_set(stage: Stage, monkeypatch: pytest.MonkeyPatch, steps: tuple[float, ...]) -> None:
    """Set while a session runs, and between two sessions: what is judged, claimed and logged goes by what it shows."""
    real, offset = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    with stage.playing():
        well(stage)
        for step in steps:
            offset[0] = step
            connected = len(stage.log("subscribe-up"))
            stage.clock.skip(5)
            # A clock that jumps may mean that the machine slept: the connections are made anew.
            eventually(lambda before=connected: len(stage.log("subscribe-up")) > before, "it reconnects")  # type: ignore[misc]
            well(stage)
    for step in steps:
        offset[0] = step
        waiting = [stage.open_url() for _ in range(2)]
        with stage.playing():
            eventually(lambda urls=waiting: stage.opened()[-2:] == urls, "what waited is opened")  # type: ignore[misc]
            well(stage)
    moments = [datetime.fromisoformat(event["ts"]).timestamp() for event in stage.log()]
    assert max(moments) < real() + HOUR + 60
    assert min(moments) > real() - HOUR - 600


class ShiftedRelay(RelayServer):
    """A relay whose machine's clock can be set."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._offset = directory / "offset"
        self._site = directory / "site"
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(SITE)
        self.set(0.0)

    def set(self, seconds: float) -> None:
        temporary = self._offset.with_suffix(".new")
        temporary.write_text(f"{seconds}")
        temporary.replace(self._offset)

    def environ(self) -> dict[str, str]:
        path = os.pathsep.join([os.fspath(self._site), os.fspath(CHECKOUT)])
        return {**super().environ(), "PYTHONPATH": path, "CLOCK_OFFSET_FILE": os.fspath(self._offset)}


@pytest.fixture
def shifted(tmp_path: Path) -> Iterator[ShiftedRelay]:
    with ShiftedRelay(tmp_path) as relay:
        yield relay


@pytest.mark.parametrize("steps", STEPS)
def test_the_remote_s_clock_is_set(
    theatre: Theatre,
    monkeypatch: pytest.MonkeyPatch,
    directory: Path,
    shifted: ShiftedRelay,
    steps: tuple[float, ...],
) -> None:
    stage = Stage(theatre._replace(relay=f"unix:{shifted.socket}"), monkeypatch, directory)
    with stage.playing():
        well(stage)
        for step in steps:
            shifted.set(step)
            published = stage.bus.publish(stage.topic, json.dumps({"kind": "of-a-later-version"}))
            assert abs(published.time - time.time() - step) < 300, "its clock is set"
            well(stage)
    for step in steps:
        shifted.set(step)
        waiting = [stage.open_url() for _ in range(2)]
        with stage.playing():
            eventually(lambda urls=waiting: stage.opened()[-2:] == urls, "what waited is opened")  # type: ignore[misc]
            well(stage)


def test_a_laptop_that_wakes_makes_its_connections_anew_long_before_the_old_ones_are_found_dead(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, directory: Path, shifted: ShiftedRelay
) -> None:
    """The old ones stay open and silent, as behind a router that has forgotten them: for 90 s nobody would notice."""
    drift = [0.0]
    with DelayProxy(str(shifted.socket)) as link:
        stage = Stage(theatre._replace(relay=f"http://127.0.0.1:{link.port}"), monkeypatch, directory)
        with stage.playing(drift=lambda: drift[0]):
            well(stage)
            link.freeze()
            url = "http://example.com/while-it-slept"
            BusClient(f"unix:{shifted.socket}").publish(
                stage.topic, json.dumps({"kind": "open", "url": url, "id": "slept"})
            )
            stage.published.append(url)
            before, begun = link.accepted, time.monotonic()
            drift[0] += 8 * HOUR
            stage.clock.skip(4)
            eventually(lambda: link.accepted > before, "it connects anew, without waiting for the old connection")
            link.thaw()
            eventually(lambda: url in stage.opened(), "what was missed is made up for")
            assert time.monotonic() - begun < 60
            up = stage.log("subscribe-up")[-1]
            assert (up["reconnect"], up["replayed"]) == (True, 1)
            well(stage)
