"""`python -m actors` as a process: how it ends, and what its end leaves to the next one."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from actors.supervision import ChildSpec, Ended, Process, Program
from nssh.base import process
from nssh.ssh.mux import master_pid
from nssh.state import session_records
from nssh.state.lease import Lease
from tests.supervision.programs import drive
from tests.supervision.support import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.launch.session_info import SessionInfo
    from tests.tree.stage import Stage

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
PROMISED = 5.0 + 2.0
"""Seconds from the launcher's end until the bridge is gone: five promised (docs/architecture.md), two for load."""


class Bridge:
    """A bridge process that was told of a session, as the launcher does."""

    def __init__(self, session: SessionInfo, sabotage: str = "", **options: object) -> None:
        self.session = session
        # The bridge as it is, but for what the test breaks in it beforehand.
        words = ["-c", f"{sabotage}\nimport sys\nfrom actors.__main__ import main\nsys.exit(main())"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", *(words if sabotage else ["-m", "actors"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(ROOT), *sys.path])},
            **options,  # type: ignore[call-overload]
        )
        self.tell(session.encode())

    def tell(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def record(self) -> session_records.Record | None:
        return session_records.read(session_records.path_of(self.session.pid))

    def has_role(self, role: str) -> bool:
        record = self.record()
        return record is not None and (record.role, record.bridge) == (role, self.process.pid)

    def is_up(self) -> bool:
        record = self.record()
        return record is not None and (record.bus, record.bridge) == ("up", self.process.pid)

    def let_end(self) -> float:
        """Close its stdin, as the launcher's end does; return the seconds until it was gone."""
        assert self.process.stdin is not None
        began = time.monotonic()
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        return time.monotonic() - began

    def errors(self) -> str:
        """What it wrote to stderr, once it has ended."""
        assert self.process.stderr is not None
        errors: bytes = self.process.stderr.read()
        return errors.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def launchers() -> Iterator[list[psutil.Popen]]:
    """Two processes that stand in for launchers: a record is of a live one."""
    started = [psutil.Popen(["sleep", "600"]) for _ in range(2)]
    yield started
    for one in started:
        one.kill()
        one.wait()


@pytest.fixture
def stage_of_launcher(stage: Stage, launchers: list[psutil.Popen]) -> Stage:
    pid = launchers[0].pid
    stage.session = stage.session._replace(pid=pid, birth=process.birth(pid))
    return stage


@pytest.fixture
def bridges() -> Iterator[list[Bridge]]:
    made: list[Bridge] = []
    yield made
    for bridge in made:
        bridge.close()


LATE_STREAM = """
from nssh.bus.live_stream import LiveStream
follow = LiveStream.__iter__
LiveStream.__iter__ = lambda self: (event for event in follow(self) if event.kind != "message")
"""


def test_what_the_bus_has_accepted_takes_effect_before_the_end_however_late_the_stream_is(
    stage_of_launcher: Stage, bridges: list[Bridge]
) -> None:
    stage = stage_of_launcher
    bridge = Bridge(stage.session, LATE_STREAM)
    bridges.append(bridge)
    eventually(bridge.is_up, "the bus is up")
    url = stage.open_url()
    assert bridge.let_end() < PROMISED
    assert stage.opened() == [url]
    assert bridge.errors() == ""


def test_its_end_leaves_nothing_behind(stage_of_launcher: Stage, bridges: list[Bridge]) -> None:
    stage = stage_of_launcher
    bridge = Bridge(stage.session)
    bridges.append(bridge)
    eventually(bridge.is_up, "it is up")
    url = stage.open_url()
    eventually(lambda: url in stage.opened(), "it serves")
    assert bridge.let_end() < PROMISED
    assert bridge.process.returncode == 0
    assert bridge.errors() == ""
    assert list((stage.state / "sessions").iterdir()) == []
    assert [line["event"] for line in stage.log() if line["event"].startswith("session")] == [
        "session-start",
        "session-end",
    ]


HANG_ONE = "import threading; from actors.{} import {} as A; A.stopped = lambda self: threading.Event().wait()"
HANG_ALL = "\n".join(
    HANG_ONE.format(module, name)
    for module, name in {
        "log_writer": "LogWriter",
        "session_registry": "SessionRegistry",
        "remote_host": "RemoteHost",
        "publisher": "Publisher",
        "liveness_responder": "LivenessResponder",
        "clipboard": "Clipboard",
        "url_opener": "UrlOpener",
        "subscriber": "Subscriber",
    }.items()
)
HANG_SUPERVISOR = """
import threading
from actors.supervision import Supervisor
Supervisor._stop_all = lambda self: threading.Event().wait()
"""
HANG_DRAIN = """
import threading
from actors.messages import IsDrained
from actors.subscriber import Subscriber
handle = Subscriber.handle
Subscriber.handle = lambda self, m: threading.Event().wait() if isinstance(m, IsDrained) else handle(self, m)
"""


@pytest.mark.parametrize(
    "sabotage",
    [HANG_ONE.format("clipboard", "Clipboard"), HANG_ALL, HANG_SUPERVISOR, HANG_DRAIN],
    ids=["one actor", "every actor", "the supervisor", "the subscriber, in a message"],
)
def test_whatever_hangs_it_is_gone_in_time(stage_of_launcher: Stage, bridges: list[Bridge], sabotage: str) -> None:
    stage = stage_of_launcher
    bridge = Bridge(stage.session, sabotage)
    bridges.append(bridge)
    eventually(bridge.is_up, "it is up")
    assert bridge.let_end() < PROMISED
    assert bridge.record() is None
    assert bridge.errors() == ""


def test_what_the_launcher_tells_wrongly_ends_it_like_its_end(stage_of_launcher: Stage, bridges: list[Bridge]) -> None:
    bridge = Bridge(stage_of_launcher.session)
    bridges.append(bridge)
    eventually(bridge.is_up, "it is up")
    bridge.tell(b"{}\n")
    bridge.process.wait(PATIENCE)
    assert bridge.record() is None


def test_a_lease_that_can_not_be_made_is_one_line_and_status_1(stage_of_launcher: Stage, bridges: list[Bridge]) -> None:
    stage = stage_of_launcher
    session = stage.session._replace(lease=os.fspath(stage.state / "missing/t.lease"))
    bridge = Bridge(session)
    bridges.append(bridge)
    assert bridge.process.wait(PATIENCE) == 1
    errors = bridge.errors()
    assert errors.count("\n") == 1
    assert errors.startswith("nssh: the bridge did not start: session_registry")
    assert session.topic not in errors


def test_what_keeps_failing_ends_it_with_status_1_and_the_next_one_serves(
    stage_of_launcher: Stage, bridges: list[Bridge]
) -> None:
    """A stand-by wants the lease that the leader has left: in a directory that is gone, each try is a crash."""
    stage = stage_of_launcher
    place = stage.state / "leases"
    place.mkdir(mode=0o700)
    session = stage.session._replace(lease=os.fspath(place / "t.lease"))
    other = Lease(session.lease)
    assert other.acquire()
    bridge = Bridge(session)
    bridges.append(bridge)
    eventually(lambda: bridge.has_role("standby"), "it stands by")
    Path(session.lease).unlink()
    place.rmdir()
    other.release()
    assert bridge.process.wait(PATIENCE) == 1
    assert stage.log("supervisor-escalate")[0]["err"].startswith("session_registry failed")
    assert {line["actor"] for line in stage.log("actor-restart")} == {"session_registry"}
    assert bridge.record() is not None, "the session goes on"
    errors = bridge.errors()
    assert errors.count("\n") == 1
    assert errors.startswith("nssh: the bridge gives up: session_registry failed, the restart after 5 in 30 s")
    # The launcher starts the next one, and what was in the way is gone.
    place.mkdir(mode=0o700)
    second = Bridge(session._replace(restarts=1))
    bridges.append(second)
    eventually(second.is_up, "the next is up")
    url = stage.open_url()
    eventually(lambda: url in stage.opened(), "and serves")
    assert len(stage.log("bridge-restart")) == 1


def test_a_signal_to_the_bridge_alone_leaves_the_session_its_record_and_its_master(
    stage_of_launcher: Stage, bridges: list[Bridge]
) -> None:
    stage = stage_of_launcher
    session = stage.session._replace(own_control=True)
    before = master_pid(session.control_path)
    assert before
    bridge = Bridge(session)
    bridges.append(bridge)
    eventually(bridge.is_up, "it is up")
    bridge.process.send_signal(signal.SIGTERM)
    assert bridge.process.wait(PATIENCE) == 1, "the launcher is to start another one"
    assert bridge.record() is not None
    assert master_pid(session.control_path) == before, "the user's session goes through it"
    second = Bridge(session._replace(restarts=1, own_control=False))
    bridges.append(second)
    eventually(second.is_up, "the next is up")
    url = stage.open_url()
    eventually(lambda: url in stage.opened(), "and serves")


FAST_HEART = """
import actors.supervision._heartbeat, actors.supervision._supervisor
actors.supervision._heartbeat.INTERVAL = actors.supervision._supervisor.LIVENESS = 0.2
"""


def test_it_gives_signs_of_life_as_long_as_its_supervisor_is_well(stage_of_launcher: Stage) -> None:
    code = f"{FAST_HEART}\nimport sys\nfrom actors.__main__ import main\nsys.exit(main())"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(ROOT), *sys.path])}
    program = Program((sys.executable, "-P", "-c", code), environ=environ, input=True)
    bridge = Process(ChildSpec("bridge", program, startup=PATIENCE, health=2.0))
    bridge.start(time.monotonic())
    bridge.write(stage_of_launcher.session.encode())
    assert drive(bridge, lambda: bridge.is_up) is None
    up_at = time.monotonic()
    assert drive(bridge, lambda: time.monotonic() - up_at > 5) is None, "it is well, two and a half limits later"
    os.kill(bridge.pid, signal.SIGSTOP)
    assert drive(bridge) == Ended("no heartbeat for 2 s", -signal.SIGKILL, overdue=True)


def test_a_stand_by_takes_over_from_a_leader_that_is_killed(
    stage: Stage, launchers: list[psutil.Popen], bridges: list[Bridge]
) -> None:
    for number, launcher in enumerate(launchers):
        one = stage.session._replace(
            pid=launcher.pid, birth=process.birth(launcher.pid), log=os.fspath(stage.state / f"{number}.jsonl")
        )
        bridge = Bridge(one)
        bridges.append(bridge)
        eventually(lambda: bridges[-1].has_role("standby" if len(bridges) > 1 else "leader"), "it has its role")
    leader, standby = bridges
    eventually(leader.is_up, "the leader is up")
    stage.open_url()
    eventually(lambda: stage.opened() == stage.published, "the leader serves")
    began = time.monotonic()
    leader.process.kill()
    stage.open_url()
    eventually(lambda: standby.has_role("leader"), "the stand-by leads")
    took = time.monotonic() - began
    eventually(lambda: stage.opened() == stage.published, "and serves what came meanwhile")
    print(f"a stand-by led {took:.2f} s after the leader's death")  # noqa: T201 - a measurement
    assert took < 10
    # The dead one's launcher starts another bridge, which stands by now.
    again = Bridge(leader.session._replace(restarts=1))
    bridges.append(again)
    eventually(lambda: again.has_role("standby"), "it stands by")
    for _ in range(3):
        stage.open_url()
    eventually(lambda: stage.opened() == stage.published, "one of them acts")


def test_a_disk_that_is_full_costs_lines_of_the_log_and_no_more(
    stage_of_launcher: Stage, bridges: list[Bridge]
) -> None:
    """A limit on the size of files stands in for the disk: no byte of any file can be written, sockets work."""
    stage = stage_of_launcher
    browser = Path(stage.config.browser.command[0])
    browser.write_text(browser.read_text().replace("#!/bin/sh\n", "#!/bin/sh\nulimit -S -f unlimited\n"))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    bridge = Bridge(
        stage.session,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited)),
    )
    bridges.append(bridge)
    for _ in range(3):
        stage.open_url()
        eventually(lambda: stage.opened() == stage.published, "each is opened, once")
    stage.write("full")
    stage.has_read("full")
    assert not any(path.stat().st_size for path in stage.state.rglob("*") if path.is_file())
    resource.prlimit(bridge.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    stage.open_url()
    eventually(lambda: stage.opened() == stage.published, "it goes on")
    eventually(lambda: stage.log("log-lost"), "the log tells what it lacks")
    eventually(lambda: (stage.state / "t.ledger").stat().st_size, "the ledger is on disk")
    # What was handled while nothing could be written is known to the next one.
    bridge.process.kill()
    bridge.process.wait()
    second = Bridge(stage.session._replace(restarts=1))
    bridges.append(second)
    eventually(second.is_up, "the next is up")
    stage.open_url()
    eventually(lambda: stage.opened() == stage.published, "each is opened, once")
    assert bridge.errors() == ""
