"""Runs a process as a supervisor's child, on a thread that starts it and waits for its end."""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING

from actors.supervision._incarnation import WedgedError
from actors.supervision._process import Ended, Process, ProcessError

if TYPE_CHECKING:
    from actors.supervision._incarnation import Incarnation
    from actors.supervision._spec import ChildSpec
    from actors.supervision._timers import Clock

_PART = 0.8
"""The fraction of each deadline that the process gets. The rest is for this thread, which must not be abandoned."""


class ProcessBody:
    """The body of an incarnation whose child is a process.

    Args:
        spec: The child's specification, with a `Program` as its `start`.
        clock: The tree's clock.
    """

    def __init__(self, spec: ChildSpec, clock: Clock) -> None:
        self._process = Process(spec, _PART)
        self._now = clock.monotonic
        self._lock = threading.Lock()  # guards the requests of other threads: patience, abandoned, waker
        self._patience: float | None = None
        self._abandoned = False
        self._waker = -1  # the writing end of a pipe that wakes this thread; -1 while it does not run

    def run(self, life: Incarnation) -> None:
        """Start the process and wait for its end, on the thread of `life`.

        Raises:
            ProcessError: It could not be started, or ended badly.
            WedgedError: It was killed, because it wrote no heartbeat or did not end in time.
        """
        process = self._process
        try:
            process.start(self._now())
        except OSError as error:
            raise ProcessError(f"it can't be started: {error.strerror}") from error
        woken, waker = os.pipe()
        os.set_blocking(woken, False)
        with self._lock:
            self._waker = waker
        try:
            ended = self._attend(life, woken)
        finally:
            with self._lock:
                self._waker = -1
            os.close(woken)
            os.close(waker)
            if process.pid:  # an error above must not leave the process behind
                process.kill()
                os.waitpid(process.pid, 0)
        if ended.error:
            raise (WedgedError if ended.overdue else ProcessError)(ended.error)

    def request_stop(self, patience: float) -> None:
        """Have the process end within `patience` seconds. Any thread; returns at once."""
        with self._lock:
            self._patience = patience
            self._wake()

    def abandon(self) -> None:
        """Have the process killed. Any thread; returns at once."""
        with self._lock:
            self._abandoned = True
            self._wake()

    def _wake(self) -> None:
        if self._waker >= 0:
            os.write(self._waker, b".")

    def _attend(self, life: Incarnation, woken: int) -> Ended:
        process, is_up = self._process, False
        while True:
            with self._lock:
                patience, self._patience, abandoned = self._patience, None, self._abandoned
            if abandoned:
                process.kill()
            elif patience is not None:
                process.request_stop(self._now(), patience * _PART)
            if (ended := process.step(self._now())) is not None:
                return ended
            if process.is_up and not is_up:
                is_up = True
                life.up()
            poller = select.poll()
            for fd in (woken, *process.descriptors):
                poller.register(fd, select.POLLIN)
            timeout = process.timeout(self._now())
            poller.poll(None if timeout is None else timeout * 1000)
            try:
                os.read(woken, 4096)
            except BlockingIOError:
                continue  # woken by a descriptor of the process, or by the time
