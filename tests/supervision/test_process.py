"""One life of a real process: started, silent, killed, asked to end; nothing of it stays behind."""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

from actors.supervision import ChildSpec, Ended, Process, Program
from actors.supervision import _process as module
from tests.supervision.programs import (
    DEAF,
    PATIENCE,
    READER,
    SLEEP,
    beating,
    child,
    children,
    drive,
    end_of,
    python,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real  # these tests start programs


@pytest.fixture(autouse=True)
def _no_descriptor_is_lost() -> Iterator[None]:
    before = sorted(os.listdir("/dev/fd"))
    yield
    assert sorted(os.listdir("/dev/fd")) == before


@pytest.fixture(autouse=True)
def _no_zombie_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.fixture(params=["pidfd", "pid"])
def handles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let processes be told apart by a pidfd, or without any, as on macOS."""
    how: str = request.param
    if how == "pid":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("no pidfd here")
    return how


@pytest.mark.parametrize(
    ("command", "ended"),
    [
        ("exit 0", Ended("", 0)),
        ("exit 1", Ended("exit status 1", 1)),
        ("kill -KILL $$", Ended("killed by SIGKILL", -9)),
        ("kill -TERM $$", Ended("killed by SIGTERM", -15)),
    ],
)
@pytest.mark.usefixtures("handles")
def test_its_end_is_told_once(command: str, ended: Ended) -> None:
    process = started(child("sh", "-c", command))
    assert end_of(process) == ended
    assert (process.pid, process.step(time.monotonic())) == (0, None)


def test_what_can_not_be_started_is_an_error_and_leaves_nothing() -> None:
    process = Process(child("/nonexistent/program", input=True, output=True, health=5.0))
    with pytest.raises(FileNotFoundError):
        process.start(0.0)
    assert (process.pid, process.output, process.is_up) == (0, -1, False)


def test_an_actor_is_no_process() -> None:
    start: Any = object
    with pytest.raises(TypeError, match="started by a Program"):
        Process(ChildSpec("actor", start))


@pytest.mark.usefixtures("handles")
def test_the_end_of_its_stdin_is_how_it_is_asked_to_end() -> None:
    process = started(child(*READER, input=True, output=True))
    output = process.output
    process.write(b"x" * 10)
    assert os.read(output, 100) == b"x" * 10
    process.request_stop(time.monotonic())
    assert end_of(process) == Ended("", 0)
    os.close(output)


@pytest.mark.usefixtures("handles")
@pytest.mark.parametrize(("argv", "status"), [(READER, 0), (DEAF, -signal.SIGKILL)])
def test_who_has_nothing_else_to_do_waits_for_the_end(argv: tuple[str, ...], status: int) -> None:
    process = started(child(*argv, input=True, shutdown=0.4, session=True, group=True))
    ended = process.stop()
    assert ended is not None
    # It may not have come to ignoring SIGTERM when that came.
    assert ended.status in {status, -signal.SIGTERM}
    assert process.stop() is None


@pytest.mark.usefixtures("handles")
def test_without_such_a_pipe_it_is_sigterm() -> None:
    process = started(child(*SLEEP))
    process.request_stop(time.monotonic())
    assert end_of(process) == Ended("", -signal.SIGTERM)


@pytest.mark.parametrize("pipe", [True, False])
@pytest.mark.usefixtures("handles")
def test_one_that_ignores_both_is_killed_in_time(pipe: bool) -> None:  # noqa: FBT001
    process = started(child(*DEAF, shutdown=0.4, input=pipe, output=True, session=True, group=True))
    output = process.output
    assert os.read(output, 100) == b"ready\n"
    began = time.monotonic()
    process.request_stop(began)
    ended = end_of(process)
    assert ended == Ended("not down after 0.4 s", -signal.SIGKILL, overdue=True)
    assert time.monotonic() - began >= 0.4
    assert os.read(output, 100) == b"", "its group has ended, too"
    os.close(output)


def test_writing_to_a_dead_one_is_no_error() -> None:
    process = started(child("true", input=True))
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.write(b"news")
    assert end_of(process) == Ended("", 0)


def test_it_is_up_with_its_first_heartbeat_and_killed_when_they_stop() -> None:
    process = started(child(*beating(), health=1.0))
    assert not process.is_up
    drive(process, lambda: process.is_up)
    began = time.monotonic()
    drive(process, lambda: time.monotonic() - began > 2.0)
    assert process.pid, "it beats, so it lives"
    os.kill(process.pid, signal.SIGSTOP)
    assert end_of(process) == Ended("no heartbeat for 1 s", -signal.SIGKILL, overdue=True)


def test_a_heart_that_never_beats_is_not_up_in_time() -> None:
    process = started(child(*SLEEP, health=60.0, startup=0.2))
    assert end_of(process) == Ended("not up after 0.2 s", -signal.SIGKILL, overdue=True)


def test_a_keeper_that_was_stopped_for_long_kills_nobody() -> None:
    """What it did not see in that time is in the pipe when it looks."""
    process = started(child(*beating(), health=60.0))
    drive(process, lambda: process.is_up)
    assert process._pulse is not None
    for later in (100.0, 10_000.0, 1_000_000.0):
        select.select([process._pulse.fd], [], [], PATIENCE)
        assert process.step(time.monotonic() + later) is None
        assert process.due > later, "no suspicion either"
    process.kill()
    assert end_of(process).status == -signal.SIGKILL


def test_one_that_is_well_wakes_nobody() -> None:
    process = started(child(*beating(), health=60.0))
    drive(process, lambda: process.is_up)
    assert process.descriptors == ([] if process.must_be_polled else [process._handle])
    assert process.due - time.monotonic() > 50
    process.kill()
    end_of(process)


def test_nobody_is_signalled_who_has_been_collected_by_others(handles: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(child("true"))
    os.waitpid(process.pid, 0)
    sent: list[Any] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: sent.append(arguments))
    process.request_stop(time.monotonic())
    process.kill()
    assert sent == [], handles
    assert end_of(process) == Ended("", None)


def test_an_end_that_somebody_else_has_seen_is_no_normal_one() -> None:
    process = started(child("true"))
    os.waitpid(process.pid, 0)
    assert end_of(process).error


def test_an_owner_may_collect_it() -> None:
    process = started(child("sh", "-c", "exit 3"))
    _, status = os.waitpid(process.pid, 0)
    assert process.ended(status) == Ended("exit status 3", 3)


@pytest.mark.parametrize("session", [True, False])
def test_it_may_lead_a_session(session: bool) -> None:  # noqa: FBT001
    process = started(child(*SLEEP, session=session))
    assert (os.getsid(process.pid) == process.pid) == session
    process.kill()
    end_of(process)


def test_what_it_says_goes_to_a_private_file(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    for _ in range(2):
        program = Program(("sh", "-c", "echo traceback >&2"), errors=os.fspath(errors))
        end_of(started(ChildSpec("child", program)))
    assert errors.read_text() == "traceback\n" * 2
    assert stat.S_IMODE(errors.stat().st_mode) == 0o600


def test_a_file_that_can_not_be_made_is_no_obstacle(tmp_path: Path) -> None:
    program = Program(("sh", "-c", "echo traceback >&2"), errors=os.fspath(tmp_path / "missing" / "errors"))
    assert end_of(started(ChildSpec("child", program))) == Ended("", 0)


def test_it_has_no_descriptor_of_ours() -> None:
    process = started(child(*python("import os; print(*os.listdir('/dev/fd'))"), input=True, output=True, health=60.0))
    with os.fdopen(process.output) as output:
        theirs = {int(fd) for fd in output.read().split()}
    inherited = {fd for fd in range(256) if fd in theirs and _is_inheritable(fd)}
    # Behind the three and the heart, the one that lists them.
    assert theirs - inherited <= {0, 1, 2, 3, 4}
    end_of(process)


def _is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def test_signals_are_as_a_program_expects_them() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        process = started(child(*SLEEP))
        process.request_stop(time.monotonic())
        assert end_of(process).status == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_defaults_name_what_python_ignores() -> None:
    assert {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT} <= set(module._DEFAULTS)
