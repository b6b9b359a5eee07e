"""Local programs, run so that a hung, chatty or forking one harms nothing: deadline, size limit, own process group."""

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
        """Takes output."""

        def write(self, data: bytes) -> None:
            """Take a piece."""
            ...


_CHUNK = 256 << 10
_PROGRESS = 64 << 10
_STDERR_LIMIT = 8 << 10
_IN_MEMORY = 1 << 20
# Seconds between two looks at how far a program has read its input.
_LOOK = 0.5
# Grace for a group that was sent SIGKILL: only a process in an uninterruptible system call needs any.
_REAP_DEADLINE = 5.0


class ToolFailedError(ToolError):
    """A program ended with a status other than 0; `status` is negative for a signal, `stderr` is cut at 8 KiB."""

    def __init__(self, text: str, status: int, stderr: str) -> None:
        super().__init__(text)
        self.status = status
        self.stderr = stderr


class ToolOverflowError(ToolError):
    """A program gave more output than was allowed, and was killed."""


class ToolHungError(ToolError):
    """A program did not end before its deadline; it and its children were killed."""


def find_tool(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the absolute path of a program on the PATH that is not one of nssh's own shims, or None.

    A name with a slash is taken as it is. Relative directories of the PATH are skipped: what they hold depends on where
    nssh was started.
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
    # The Go program's shims are links to its binary, ours carry a marker.
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
    """Run a program to the end of its output and return that; blocks, for any thread.

    Args:
        argv: The program, by absolute path, and its arguments.
        stdin: What it reads; closed afterwards.
        timeout: Seconds for all of it; while a lot goes in or comes out, as many again after each 64 KiB.
        limit: The largest output in bytes.
        environ: Its environment; ours by default.
        output: Takes the output instead; nothing is returned then.
        progress: Called for each piece of output.

    Raises:
        ToolFailedError: It ended with another status than 0.
        ToolHungError: The deadline passed; the program and its process group were killed.
        ToolError: It can't be started, or gave more than `limit` bytes (and was killed).
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
    """Run a program that takes input and may leave a child behind, as `xclip -i` and `wl-copy` do to serve a clipboard.

    Such a child keeps the standard streams open, so nobody may wait for their end: what it prints goes to /dev/null.
    The child is left running unless the deadline passes. The input is there as a whole, whatever becomes of us: a pipe
    that ends with a bridge that is killed would leave half of it on the clipboard. Blocks, for any thread; raises what
    `run` raises.
    """
    with _nameless(stdin) as source:
        _run(argv, _Exchange(b"", timeout, 0, None, source), environ)


@contextlib.contextmanager
def _nameless(data: bytes | Content) -> Iterator[IO[bytes]]:
    """Put data into a file without a name: in memory, where the system has that and it is not much."""
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
            # A file, since a child that is left behind would keep a pipe open, or die of one that nobody reads.
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
            # ValueError: an argument with a NUL
            reason = error.strerror if isinstance(error, OSError) else "bad argument"
            raise ToolError(f"{name} can't be run: {reason}") from None
        if status == 0:
            return
        errors.seek(0)
        said = errors.read(_STDERR_LIMIT).decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # The last line: xclip and friends say there what the failure means, after those of the libraries.
    reason = (
        "".join(char if char.isprintable() else "?" for char in lines[-1][:200]) if lines else "it does not say why"
    )
    how = f"status {status}" if status > 0 else f"signal {-status}"
    raise ToolFailedError(f"{name} failed ({how}): {reason}", status, said)


class _TooMuchError(Exception):
    """More output than allowed."""


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
            # Not reaped yet: so its process group's number can't belong to somebody else by now.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_REAP_DEADLINE)


class _Exchange:
    """Feeds a program its input, or has it read that from a file, gathers its output, and waits for its end."""

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
        """Do it.

        Raises:
            TimeoutError: The deadline passed.
            _TooMuchError: There is more than `limit` bytes of output.
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
        """Return its status, when both streams are done with.

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
                # Its place in the file is ours, too.
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
        """Write a part of the input; return whether that was all."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return True
            self._rest = memoryview(piece)
        try:
            count = os.write(fd, self._rest[:_CHUNK])
        except BrokenPipeError:
            return True  # it wants no more; its status tells whether that is a failure
        self._rest = self._rest[count:]
        self._move(count)
        return False

    def _move(self, count: int) -> None:
        """Start the time anew when a good deal has moved: a trickle must not last for ever."""
        self._moved += count
        if self._moved >= _PROGRESS:
            self._moved = 0
            self._deadline = max(self._deadline, time.monotonic() + self.timeout)
