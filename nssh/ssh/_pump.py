"""Run a command to its end over three pipes: write its input and collect its output, bounded in size and time."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 16


class Pipes:
    """Three pipes for a command's stdin, stdout and stderr.

    Attributes:
        far: The command's three ends.
        stdin, stdout, stderr: Our ends.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        far_in, self.stdin = self._pipe()
        self.stdout, far_out = self._pipe()
        self.stderr, far_err = self._pipe()
        self.far = (far_in, far_out, far_err)

    def _pipe(self) -> tuple[int, int]:
        try:
            pair = os.pipe()
        except OSError:
            self.close()
            raise
        self._open.update(pair)
        return pair

    def close(self, *files: int) -> None:
        """Close the given ends, or all without arguments; an end that is closed already is skipped."""
        for file in files or tuple(self._open):
            if file in self._open:
                self._open.discard(file)
                os.close(file)


class AbortedError(Exception):
    """The connection was closed on this side while a command ran."""


class Pump:
    """Writes a command's input and collects its output until the command closed both outputs.

    Attributes:
        stdout, stderr: The output, each cut at the limit.
        truncated: Whether output was cut.
    """

    def __init__(self, pipes: Pipes, data: bytes, limit: int) -> None:
        """Prepare for a command that has the far ends of `pipes`; `data` is its input, `limit` cuts each output."""
        self._pipes = pipes
        self._limit = limit
        self._rest = memoryview(data)
        self._poll = select.poll()
        self._outputs = {pipes.stdout: bytearray(), pipes.stderr: bytearray()}
        self.truncated = False

    @property
    def stdout(self) -> bytes:
        """What the command wrote to stdout so far."""
        return bytes(self._outputs[self._pipes.stdout])

    @property
    def stderr(self) -> bytes:
        """What the command wrote to stderr so far."""
        return bytes(self._outputs[self._pipes.stderr])

    def run(self, deadline: float, *, line: int = -1, aborted: Callable[[], bool] = bool) -> None:
        """Pump until both outputs are closed.

        Args:
            deadline: By `time.monotonic`.
            line: A socket of the connection. When it hangs up, `aborted` is called: the outputs may stay open.
            aborted: Returns whether to give up.

        Raises:
            TimeoutError: The deadline passed.
            AbortedError: `aborted` returned True.
        """
        self._register(line)
        running = set(self._outputs)
        while running:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            for file, _ in self._poll.poll(remaining * 1000):
                if file == line:
                    if aborted():
                        raise AbortedError
                    self._poll.unregister(line)
                elif file == self._pipes.stdin:
                    self._feed()
                elif not self._collect(file):
                    self._poll.unregister(file)
                    running.discard(file)

    def _register(self, line: int) -> None:
        for file in self._outputs:
            self._poll.register(file, select.POLLIN)
        if line >= 0:
            self._poll.register(line, 0)  # hang-ups only
        if self._rest:
            os.set_blocking(self._pipes.stdin, False)
            self._poll.register(self._pipes.stdin, select.POLLOUT)
        else:
            self._pipes.close(self._pipes.stdin)

    def _feed(self) -> None:
        stdin = self._pipes.stdin
        try:
            self._rest = self._rest[os.write(stdin, self._rest[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # the command does not read the rest
            self._rest = self._rest[:0]
        if not self._rest:
            self._poll.unregister(stdin)
            self._pipes.close(stdin)

    def _collect(self, file: int) -> bool:
        part = os.read(file, _CHUNK)
        into = self._outputs[file]
        room = self._limit - len(into)
        self.truncated = self.truncated or len(part) > room
        into += part[: max(room, 0)]
        return bool(part)
