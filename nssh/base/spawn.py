"""Starting programs on the way to ssh: `os.posix_spawn` alone, because importing `subprocess` costs 15 ms."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What the launcher or Python itself ignores or handles must be back at its default in a program that it starts.
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
    """Start a program found on the PATH and return its PID; file descriptors not given are inherited.

    With `session` it leads a session of its own from its first moment: no key typed on our terminal reaches it.

    Raises:
        OSError: It can't be started (`FileNotFoundError` when it is not there).
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
    """Turn a wait status into what a shell would report: the exit status, or 128 + the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


class Running(NamedTuple):
    """A program whose output is wanted; it runs while its starter does something else, and ends by `finish`."""

    pid: int
    output: int
    """The end of a pipe, which is small: what writes more than it holds waits for `finish`."""

    def finish(self, limit: int = 1 << 20) -> tuple[int, bytes]:
        """Wait for its end; return its exit code and at most `limit` bytes of its output."""
        chunks: list[bytes] = []
        size = 0
        while chunk := os.read(self.output, 65536):
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
        os.close(self.output)
        return exit_code(os.waitpid(self.pid, 0)[1]), b"".join(chunks)


def begin(argv: Sequence[str], *, merge_stderr: bool = False) -> Running:
    """Start a program that needs no input, for its output.

    Raises:
        OSError: It can't be started.
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
    """Run a program that needs no input to its end; return its exit code and at most `limit` bytes of its output.

    Raises:
        OSError: It can't be started.
    """
    return begin(argv, merge_stderr=merge_stderr).finish(limit)
