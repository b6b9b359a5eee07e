"""Runs local programs with a deadline, a limit of output, and a process group of their own, and finds them."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING, Protocol, cast

from nssh.base.errors import ToolError
from nssh.remote import stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nssh.local.clipboard_content import Content

    class Sink(Protocol):
        """Takes a program's output."""

        def write(self, data: bytes) -> None:
            """Take a piece of output."""
            ...


_CHUNK = 256 << 10
_PROGRESS = 64 << 10
_STDERR_LIMIT = 8 << 10
_IN_MEMORY = 1 << 20
# Seconds between two checks how far a program has read its input.
_LOOK = 0.5
# Seconds to wait after SIGKILL: only a process in an uninterruptible system call needs any.
_REAP_DEADLINE = 5.0


class ToolFailedError(ToolError):
    """A program ended with a status other than 0. `status` is negative for a signal, `stderr` is cut at 8 KiB."""

    def __init__(self, text: str, status: int, stderr: str) -> None:
        super().__init__(text)
        self.status = status
        self.stderr = stderr


class ToolOverflowError(ToolError):
    """A program wrote more output than allowed, and was killed."""


class ToolHungError(ToolError):
    """A program did not end before its deadline; its process group was killed."""


def find_tool(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the absolute path of a program on the PATH that is not one of nssh's own shims; None if there is none.

    A name with a slash is returned as it is. Relative directories of the PATH are skipped: their content depends on
    where nssh was started.
    """
    if "/" in name:
        return name if _usable(name) else None
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = f"{directory}/{name}"
        if directory.startswith("/") and _usable(path):
            return path
    return None


def _usable(path: str) -> bool:
    if not os.access(path, os.X_OK) or not os.path.isfile(path):
        return False
    # The Go program's shims are links to its binary; nssh's shims contain a marker.
    return not stub.is_ours(path) and os.path.realpath(path).rpartition("/")[2] != "nssh"


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | Content = b"",
    timeout: float,
    limit: int = 1 << 20,
    environ: Mapping[str, str] | None = None,
    output: Sink | None = None,
    progress: Callable[[], None] | None = None,
) -> bytes:
    """Run a program to its end, and return its output. Blocks; for any thread.

    Args:
        argv: The program, by absolute path, and its arguments.
        stdin: The program's input.
        timeout: Seconds. Each 64 KiB of input or output start them anew.
        limit: The largest output in bytes.
        environ: The program's environment; this process's by default.
        output: Takes the output, if given; then nothing is returned.
        progress: Called after each piece of output.

    Raises:
        ToolFailedError: The program ended with another status than 0.
        ToolHungError: The deadline passed, and the program's process group was killed.
        ToolError: The program can't be started, or wrote more than `limit` bytes and was killed.
    """
    taken = bytearray()

    def take(data: bytes) -> None:
        (taken.extend if output is None else output.write)(data)
        if progress is not None:
            progress()

    _run(argv, _Exchange(stdin, timeout, limit, take), environ)
    return bytes(taken)


def run_writer(
    argv: Sequence[str], *, stdin: bytes | Content = b"", timeout: float, environ: Mapping[str, str] | None = None
) -> None:
    """Run a program that takes input and may leave a child running, as `xclip -i` and `wl-copy` do.

    The child keeps the standard streams open, so their end is not waited for, and output goes to /dev/null. The input
    is a file, not a pipe: if the bridge were killed, a pipe would end, and half of the content would be on the
    clipboard. Blocks; for any thread; raises what `run` raises.
    """
    with _nameless(stdin) as source:
        _run(argv, _Exchange(b"", timeout, 0, None, source), environ)


@contextlib.contextmanager
def _nameless(data: bytes | Content) -> Iterator[IO[bytes]]:
    """Put data into a file without a name; up to 1 MiB in memory, if the system can do that."""
    size = len(data) if isinstance(data, bytes) else data.size
    in_memory = size <= _IN_MEMORY and hasattr(os, "memfd_create")
    with os.fdopen(os.memfd_create("nssh"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        for piece in (data,) if isinstance(data, bytes) else data.chunks():
            file.write(piece)
        file.seek(0)
        yield file


def _run(argv: Sequence[str], exchange: _Exchange, environ: Mapping[str, str] | None) -> None:
    name = argv[0].rpartition("/")[2]
    with contextlib.ExitStack() as stack:
        try:
            # A file: a child that is left running would keep a pipe open, or die of a pipe that nobody reads.
            errors = stack.enter_context(tempfile.TemporaryFile())
            process = stack.enter_context(_started(argv, exchange, errors, environ))
            exchange.run(process)
            status = exchange.wait(process)
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ToolHungError(f"{name} did not end within {exchange.timeout:.3g} s and was killed") from None
        except _TooMuchError:
            raise ToolOverflowError(
                f"{name} gave more than {exchange.limit} bytes, which is the limit, and was killed"
            ) from None
        except (OSError, ValueError) as error:
            # ValueError: an argument contains a NUL.
            reason = error.strerror if isinstance(error, OSError) else "bad argument"
            raise ToolError(f"{name} can't be run: {reason}") from None
        if status == 0:
            return
        errors.seek(0)
        said = errors.read(_STDERR_LIMIT).decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # The last line has the program's own reason; lines before may come from libraries.
    reason = (
        "".join(char if char.isprintable() else "?" for char in lines[-1][:200]) if lines else "it does not say why"
    )
    how = f"status {status}" if status > 0 else f"signal {-status}"
    raise ToolFailedError(f"{name} failed ({how}): {reason}", status, said)


class _TooMuchError(Exception):
    """The program wrote more output than allowed."""


@contextlib.contextmanager
def _started(
    argv: Sequence[str], exchange: _Exchange, errors: IO[bytes], environ: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a session of its own; kill its process group if the block is left by an exception."""
    process = subprocess.Popen(
        list(argv),
        bufsize=0,
        stdin=exchange.source or subprocess.PIPE,
        stdout=subprocess.PIPE if exchange.take is not None else subprocess.DEVNULL,
        stderr=errors,
        env=None if environ is None else dict(environ),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        if process.returncode is None:
            # The process is not reaped yet, so its process group's number still belongs to it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_REAP_DEADLINE)


class _Exchange:
    """Writes a program's input, unless that is a file, collects its output, and waits for its end."""

    def __init__(
        self,
        stdin: bytes | Content,
        timeout: float,
        limit: int,
        take: Callable[[bytes], None] | None,
        source: IO[bytes] | None = None,
    ) -> None:
        self.source = source
        self.timeout = timeout
        self.limit = limit
        self.take = take
        self._pieces = iter((stdin,)) if isinstance(stdin, bytes) else stdin.chunks()
        self._rest = memoryview(b"")
        self._deadline = time.monotonic() + timeout
        self._moved = 0
        self._size = 0

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def run(self, process: subprocess.Popen[bytes]) -> None:
        """Write the input and read the output, until both are done.

        Raises:
            TimeoutError: The deadline passed.
            _TooMuchError: There are more than `limit` bytes of output.
        """
        with selectors.DefaultSelector() as selector:
            if process.stdin is not None:
                os.set_blocking(process.stdin.fileno(), False)
                selector.register(process.stdin, selectors.EVENT_WRITE)
            if process.stdout is not None:
                selector.register(process.stdout, selectors.EVENT_READ)
            while selector.get_map():
                if self.left <= 0:
                    raise TimeoutError
                for key, events in selector.select(self.left):
                    ended = self._receive(key.fd) if events & selectors.EVENT_READ else self._feed(key.fd)
                    if ended:
                        selector.unregister(key.fileobj)
                        cast("IO[bytes]", key.fileobj).close()

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the program's end and return its status. If the input is a file, reading it counts as progress.

        Raises:
            subprocess.TimeoutExpired: The deadline passed.
        """
        if self.source is None:
            return process.wait(self.left)
        position = 0
        while True:
            try:
                return process.wait(min(self.left, _LOOK))
            except subprocess.TimeoutExpired:
                # The program shares the file's position with this process.
                position, before = os.lseek(self.source.fileno(), 0, os.SEEK_CUR), position
                self._move(max(0, position - before))
                if self.left <= 0:
                    raise

    def _receive(self, fd: int) -> bool:
        data = os.read(fd, _CHUNK)
        self._size += len(data)
        if self._size > self.limit:
            raise _TooMuchError
        if data and self.take is not None:
            self.take(data)
        self._move(len(data))
        return not data

    def _feed(self, fd: int) -> bool:
        """Write a piece of the input; return whether it was the last."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return True
            self._rest = memoryview(piece)
        try:
            count = os.write(fd, self._rest[:_CHUNK])
        except BrokenPipeError:
            return True  # the program reads no more; its status tells whether it failed
        self._rest = self._rest[count:]
        self._move(count)
        return False

    def _move(self, count: int) -> None:
        """Restart the timeout after each 64 KiB. Less is no progress: a trickle must not last for ever."""
        self._moved += count
        if self._moved >= _PROGRESS:
            self._moved = 0
            self._deadline = max(self._deadline, time.monotonic() + self.timeout)
