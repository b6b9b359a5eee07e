"""Starts programs by `os.posix_spawn`, before ssh starts: importing `subprocess` would cost 15 ms."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Signals that the launcher or Python handles or ignores. A started program gets their default actions.
_DEFAULTS = tuple(
    getattr(signal, name)
    for name in "SIGINT SIGTERM SIGHUP SIGQUIT SIGPIPE SIGXFSZ SIGTSTP SIGCONT SIGWINCH SIGCHLD".split()  # noqa: SIM905
    if hasattr(signal, name)
)


def start(
    argv: Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    environ: Mapping[str, str] | None = None,
    session: bool = False,
) -> int:
    """Start a program found on the PATH, and return its PID.

    Args:
        argv: The program and its arguments.
        stdin: A file descriptor for standard input; this process's, if None. `stdout` and `stderr` likewise.
        stdout: See `stdin`.
        stderr: See `stdin`.
        environ: The environment; this process's, if None.
        session: Whether it gets a session of its own, so that keys typed on the terminal send it no signal.

    Raises:
        OSError: The program can't be started (`FileNotFoundError` if it is not there).
    """
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((stdin, stdout, stderr)) if fd is not None]
    return os.posix_spawnp(
        argv[0],
        list(argv),
        dict(os.environ if environ is None else environ),
        file_actions=actions,
        setsigdef=_DEFAULTS,
        setsid=session,
    )


def exit_code(wait_status: int) -> int:
    """Return the exit code that a shell reports for a wait status: the exit status, or 128 + the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


class Running(NamedTuple):
    """A running program whose output is collected later, by `finish`."""

    pid: int
    output: int
    """The reading end of a pipe. The program blocks if it writes more than the pipe holds, until `finish` reads it."""

    def finish(self, limit: int = 1 << 20) -> tuple[int, bytes]:
        """Wait for the program's end; return its exit code and at most `limit` bytes of its output."""
        chunks: list[bytes] = []
        size = 0
        while chunk := os.read(self.output, 65536):
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
        os.close(self.output)
        return exit_code(os.waitpid(self.pid, 0)[1]), b"".join(chunks)


def begin(argv: Sequence[str], *, merge_stderr: bool = False) -> Running:
    """Start a program without input, whose output is wanted.

    Raises:
        OSError: The program can't be started.
    """
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    try:
        pid = start(argv, stdin=null, stdout=writer, stderr=writer if merge_stderr else null)
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
        os.close(null)
    return Running(pid, reader)


def capture(argv: Sequence[str], *, merge_stderr: bool = False, limit: int = 1 << 20) -> tuple[int, bytes]:
    """Run a program without input to its end; return its exit code and at most `limit` bytes of its output. Blocks.

    Raises:
        OSError: The program can't be started.
    """
    return begin(argv, merge_stderr=merge_stderr).finish(limit)
