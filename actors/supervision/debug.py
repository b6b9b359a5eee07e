"""What went wrong, and where everybody is, in lines of code: never a value of a variable, which might be a secret."""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TextIO


def describe(error: BaseException | None) -> str:
    """One line: the type and the text of `error`, at most 500 characters; "ended" for none."""
    if error is None:
        return "ended"
    try:
        text = " ".join(f"{type(error).__name__}: {error}".split())
    except Exception:  # noqa: BLE001 - an error that can't be printed is still an error
        text = type(error).__name__
    return text.removesuffix(":")[:500]


def trace_of(error: BaseException) -> str:
    """Where `error` was raised: a line each for the frames it passed, innermost last."""
    return "\n".join(_line(frame) for frame in traceback.extract_tb(error.__traceback__, limit=-30))


def stack_of(thread: threading.Thread | None) -> str:
    """Where `thread` is right now, innermost last; "" if it is nowhere."""
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
