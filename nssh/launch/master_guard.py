"""Kills the ssh master of a suspended session if its launcher dies: `python -m nssh.launch.master_guard PID BIRTH`.

The launcher stops the master before it is suspended (`nssh.launch.foreground`). A stopped master would stay for ever
if the launcher died, and would read the shell's input if it were continued. The guard waits on a pipe: a byte ends it
(the launcher goes on), the end of the pipe means that the launcher is dead.
"""

from __future__ import annotations

import os
import signal
import sys

from nssh.base import process


def main() -> None:
    """Wait for the launcher's byte; if the pipe ends without it, kill the master."""
    _, pid, birth = sys.argv
    if not os.read(0, 1):
        process.terminate(int(pid), birth, signal.SIGKILL)


if __name__ == "__main__":
    main()
