"""Ends the master of a suspended session whose launcher is killed: `python -m nssh.launch.master_guard PID BIRTH`.

The master is held meanwhile (see `foreground`). Continued behind the launcher's death, it could take what the user
types to the shell, and wait for it for ever. The guard's stdin is a pipe: a byte from the launcher, when that goes on,
dismisses it.
"""

from __future__ import annotations

import os
import signal
import sys

from nssh.base import process


def main() -> None:
    """Wait for the launcher's byte, or its end."""
    _, pid, birth = sys.argv
    if not os.read(0, 1):
        process.terminate(int(pid), birth, signal.SIGKILL)


if __name__ == "__main__":
    main()
