"""The foreground's hold on its worker process (`python -m actors.sweep_process`): told by a pipe, ends with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from nssh.sweep import pipe
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.sweep.pipe import News, Order

# Seconds for the process to close its connections and end.
_END = 3.0


class Child:
    """The process; a context manager that leaves nothing behind.

    Attributes:
        log: Path of its event log; beside it, with `.err`, what went wrong in the process itself.
    """

    def __init__(self) -> None:
        """Start it.

        Raises:
            OSError: It can't be started.
        """
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        directory = os.path.join(files.state_dir(), "logs")
        self.log = os.path.join(directory, f"sweep-{stamp}-{os.getpid()}.jsonl")
        self._lines = pipe.Lines()
        try:
            files.make_private_dir(directory)
            errors = os.open(f"{self.log}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        except OSError:
            errors = os.open(os.devnull, os.O_WRONLY)  # a sweep needs no log
        try:
            # -P: a folder named actors in the current directory must not be taken for ours. A session of its own: the
            # keys typed here are for us.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "actors.sweep_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        finally:
            os.close(errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and wait for that."""
        process = self._process
        for end in (process.stdin, process.stdout):
            if end is not None:
                try:
                    end.close()
                except BrokenPipeError:
                    pass  # it has ended already
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def tell(self, order: Order) -> None:
        """Give an order; one that finds nobody is answered by the end of the news."""
        stdin = self._process.stdin
        if stdin is not None:
            try:
                stdin.write(pipe.encode(order))
                stdin.flush()
            except BrokenPipeError:
                return

    def news(self, timeout: float) -> list[News] | None:
        """Wait `timeout` seconds at most for what there is to tell; None at the end of the process."""
        stdout = self._process.stdout
        if stdout is None:
            return None
        if not select.select([stdout], [], [], max(timeout, 0.0))[0]:
            return []
        data = os.read(stdout.fileno(), 1 << 16)
        if not data:
            return None
        return [message for message in self._lines.feed(data) if not isinstance(message, pipe.Job | pipe.End)]
