"""A PID that the kernel gives away again, in a space of PIDs of its own: run by `unshare --pid` as root.

Writes what became of the process that has the number of a server that was listed, and of PID 1.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nssh.mosh.end_servers import EndMethod
from tests.sweep.shells import Ways


def start(program: str) -> subprocess.Popen[bytes]:
    started = subprocess.Popen([program, "-c", "echo ready; sleep 60"], stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    return started


def main() -> None:
    ways, program = Ways("dash", "proc"), sys.argv[1]
    listed = start(program)
    server, born = ways.server(listed), ways.start_of(listed.pid)
    listed.kill()
    listed.wait()
    other = listed
    while other.pid != server.pid or other.poll() is not None or ways.start_of(other.pid) == born:
        # Somebody else's number; or the right one, so quickly that the clock of start times has not moved on.
        other.kill()
        other.wait()
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(server.pid - 1))
        other = start(program)
    fates = ways.end((server, EndMethod.TERM), (server._replace(pid=1), EndMethod.TERM))
    state = "running" if other.poll() is None else "ended"
    sys.stdout.write(f"{fates[server.pid].value}: {state}, 1: {fates[1].value}\n")


if __name__ == "__main__":
    main()
