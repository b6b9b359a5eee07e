"""The shells that a remote's `sh` may be, each with a userland."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from nssh.mosh import end_servers
from nssh.mosh.mosh_servers import MoshServer
from nssh.ssh import framing
from nssh.sweep import run_scripts
from tests.lab.system import require

if TYPE_CHECKING:
    from nssh.mosh.end_servers import EndMethod, Fate

SHELLS = ["dash", "bash", "busybox sh"]


def bootstrap(shell: str) -> list[str]:
    """Return the command that runs a framed script on this machine with `shell` in the place of `sh`."""
    line = framing.BOOTSTRAP.removeprefix("exec sh -c ").strip("'")
    return [*shell.split(), "-c", line]


class Ways:
    """A shell, and where it looks."""

    def __init__(self, shell: str, by: str) -> None:
        require(shell.split(maxsplit=1)[0], *(["ps"] if by == "ps" else []))
        self.shell = shell
        self.by = by

    def start_of(self, pid: int) -> str:
        """Return what the list says of a process."""
        if self.by == "proc":
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[19]
        environ = {**os.environ, "LC_ALL": "C", "TZ": "UTC0"}
        return " ".join(
            subprocess.run(["ps", "-p", str(pid), "-o", "lstart="], env=environ, capture_output=True, text=True,
                           check=True).stdout.split()
        )  # fmt: skip

    def server(self, process: subprocess.Popen[bytes]) -> MoshServer:
        return MoshServer(process.pid, self.start_of(process.pid), 100.0)

    def end(self, *chosen: tuple[MoshServer, EndMethod], grace: int = 1, prelude: str = "", user: str | None = None
            ) -> dict[int, Fate]:  # fmt: skip
        """Run the script; return the fates in the order in which they were told."""
        script = run_scripts.end_script(chosen, grace)
        done = subprocess.run(
            bootstrap(self.shell), input=self.told(script, prelude), capture_output=True, timeout=60, check=True,
            user=user, cwd="/",
        )  # fmt: skip
        answer = framing.unpack(script, done.stdout)
        assert answer.status == 0
        verdicts = [verdict for verdict in map(end_servers.read, answer.lines) if verdict]
        assert len({verdict.pid for verdict in verdicts}) == len(verdicts) == len(chosen)
        return {verdict.pid: verdict.fate for verdict in verdicts}

    def told(self, script: framing.Script, prelude: str = "") -> bytes:
        """Return the input that makes the shell look where we want it to."""
        text = script.stdin
        if self.by == "ps" or prelude:
            size, _, rest = text.partition(b"\n")
            body, data = rest[: int(size)], rest[int(size) :]
            if self.by == "ps":
                body = body.replace(b"/proc/self/stat", b"/nowhere")
            body = body.replace(b"exec 2>/dev/null\n", b"exec 2>/dev/null\n" + prelude.encode() + b"\n", 1)
            text = b"%d\n%s%s" % (len(body), body, data)
        return text
