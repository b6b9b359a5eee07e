"""Describe errors and the stacks of threads as lines of code; never values of variables, which may be secret."""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TextIO


def describe(error: BaseException | None) -> str:
    """Return the type and the text of `error` in one line of at most 500 characters; "ended" for None."""
    if error is None:
        return "ended"
    try:
        text = " ".join(f"{type(error).__name__}: {error}".split())
    except Exception:  # noqa: BLE001 - an error whose `__str__` raises
        text = type(error).__name__
    return text.removesuffix(":")[:500]


def trace_of(error: BaseException) -> str:
    """Return where `error` was raised: a line for each of the last 30 frames, innermost last."""
    return "\n".join(_line(frame) for frame in traceback.extract_tb(error.__traceback__, limit=-30))


def stack_of(thread: threading.Thread | None) -> str:
    """Return the present stack of `thread`, a line for each frame, innermost last; empty if it does not run."""
    frame = None if thread is None or thread.ident is None else sys._current_frames().get(thread.ident)  # noqa: SLF001 - the documented way
    return "" if frame is None else "\n".join(_line(entry) for entry in traceback.extract_stack(frame, limit=30))


def dump_stacks(file: TextIO) -> None:
    """Write the stack of every thread to `file`; for a SIGUSR1 handler."""
    for thread in threading.enumerate():
        kind = " (daemon)" if thread.daemon else ""
        file.write(f"{thread.name}{kind}\n")
        file.writelines(f"    {line}\n" for line in stack_of(thread).splitlines())
    file.flush()


def _line(frame: traceback.FrameSummary) -> str:
    return f"{frame.filename}:{frame.lineno} in {frame.name}"
