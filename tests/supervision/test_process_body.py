"""A process as the body of a supervisor's child: its one thread, and what other threads ask of it."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors.supervision import Clock, ProcessError, WedgedError
from actors.supervision._process_body import ProcessBody
from tests.supervision.programs import DEAF, PATIENCE, READER, SLEEP, beating, child, children

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.supervision import ChildSpec


class Life:
    """What stands for an incarnation: a thread that runs the body, and what it reported."""

    def __init__(self, spec: ChildSpec) -> None:
        self.is_up = threading.Event()
        self.error: BaseException | None = None
        self.body = ProcessBody(spec, Clock())
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def up(self) -> None:
        self.is_up.set()

    def _run(self) -> None:
        this: Any = self
        try:
            self.body.run(this)
        except Exception as error:  # noqa: BLE001 - as an incarnation does
            self.error = error

    def wait_up(self) -> int:
        assert self.is_up.wait(PATIENCE)
        return self.body._process.pid

    def wait(self) -> str:
        """Wait for its end; return the name and text of its error."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before, others = sorted(os.listdir("/dev/fd")), children()
    yield
    assert sorted(os.listdir("/dev/fd")) == before
    assert children() <= others


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("true",), ""),
        (("false",), "ProcessError: exit status 1"),
        (("sh", "-c", "kill -KILL $$"), "ProcessError: killed by SIGKILL"),
        (("/nonexistent/program",), "ProcessError: it can't be started: No such file or directory"),
    ],
)
def test_an_end_is_normal_or_an_error(argv: tuple[str, ...], error: str) -> None:
    life = Life(child(*argv))
    assert life.wait() == error


def test_it_is_killed_from_outside() -> None:
    life = Life(child(*SLEEP))
    os.kill(life.wait_up(), signal.SIGKILL)
    assert life.wait() == "ProcessError: killed by SIGKILL"


@pytest.mark.parametrize("pidfd", [True, False])
@pytest.mark.parametrize(("argv", "pipe"), [(SLEEP, False), (READER, True)])
def test_it_ends_well_when_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    pipe: bool,  # noqa: FBT001
    pidfd: bool,  # noqa: FBT001
) -> None:
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    life = Life(child(*argv, input=pipe))
    life.wait_up()
    life.body.request_stop(PATIENCE)
    assert life.wait() == ""


def test_a_stop_that_comes_before_the_start_is_not_lost() -> None:
    body = ProcessBody(child(*SLEEP), Clock())
    body.request_stop(PATIENCE)
    life: Any = Life(child("true"))
    assert life.wait() == ""
    body.run(life)


def test_one_that_does_not_end_is_killed_before_its_thread_is_given_up() -> None:
    life = Life(child(*DEAF, session=True, group=True))
    life.wait_up()
    life.body.request_stop(0.5)
    # It may not have come to ignoring SIGTERM when that came.
    assert life.wait() in {"", "WedgedError: not down after 0.4 s"}


def test_one_that_is_abandoned_is_killed_at_once() -> None:
    life = Life(child(*SLEEP, health=60.0))
    life.body.abandon()
    assert life.wait() == ""
    assert not life.is_up.is_set()


def test_one_that_falls_silent_is_an_error_of_its_own() -> None:
    life = Life(child(*beating(), health=0.5))
    os.kill(life.wait_up(), signal.SIGSTOP)
    assert life.wait() == "WedgedError: no heartbeat for 0.5 s"
    assert issubclass(WedgedError, Exception)
    assert not issubclass(WedgedError, ProcessError)
