"""Ends the master of a suspended session whose launcher is killed: `python -m nssh.guard PID BIRTH`.

The master is held meanwhile (see `nssh.foreground`). Continued behind the launcher's death, it could take what the user
types to the shell, and wait for it for ever. Until this ends it, it reads from a pipe whose other end the launcher has.
"""

from __future__ import annotations

import os
import signal
import sys

from nssh import process

DISMISS = b"\n"
"""What the launcher writes when it goes on itself."""


def main() -> None:
    """Wait for the launcher's word, or its end."""
    _, pid, birth = sys.argv
    if os.read(0, 1) != DISMISS:
        process.terminate(int(pid), birth, signal.SIGKILL)


if __name__ == "__main__":
    main()
