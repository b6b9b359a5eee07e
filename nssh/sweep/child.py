"""The sweep's child process (`python -m actors.sweep_process`), held by the foreground: orders go in, news come out."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import TYPE_CHECKING, Self

from actors.supervision import ChildSpec, Process, Program, Restart
from nssh.sweep import child_messages
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.sweep.child_messages import News, Order

# Seconds for the process to close its connections and end.
_SHUTDOWN = 3.0


class SweepChild:
    """The child process, as a context manager that ends it and waits for its end. For one thread.

    Attributes:
        log: Path of the child's event log. The child's standard error goes to the same path with `.err`.
    """

    def __init__(self) -> None:
        """Start the process.

        Raises:
            OSError: The process can't be started.
        """
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        directory = os.path.join(files.state_dir(), "logs")
        self.log = os.path.join(directory, f"sweep-{stamp}-{os.getpid()}.jsonl")
        self._lines = child_messages.MessageSplitter()
        try:
            files.make_private_dir(directory)
        except OSError:
            pass  # a sweep needs no log
        # -P: a folder named actors in the current directory must not be imported in place of nssh's. A session of its
        # own: keys typed on the terminal must send it no signal. Its process group contains the ssh that it starts.
        program = Program(
            (sys.executable, "-P", "-m", "actors.sweep_process"),
            input=True,
            output=True,
            errors=f"{self.log}.err",
            session=True,
            group=True,
        )
        # Never restarted: it is not known which orders the process had carried out when it died.
        self._process = Process(ChildSpec("sweep", program, Restart.TEMPORARY, shutdown=_SHUTDOWN))
        self._process.start(time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and wait for that."""
        os.close(self._process.output)  # the child may be blocked in a write
        self._process.stop()

    def tell(self, order: Order) -> None:
        """Send an order. If the child has ended, `news` returns None next."""
        self._process.write(child_messages.encode(order))

    def news(self, timeout: float) -> list[News] | None:
        """Wait `timeout` seconds at most for what there is to tell; None at the end of the process."""
        output = self._process.output
        if not select.select([output], [], [], max(timeout, 0.0))[0]:
            return []
        data = os.read(output, 1 << 16)
        if not data:
            return None
        return [
            message
            for message in self._lines.feed(data)
            if not isinstance(message, child_messages.Job | child_messages.End)
        ]
