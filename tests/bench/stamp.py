"""What happens before ssh is started: a script in ssh's place writes down when that is."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.place import Lab

MARK = "bench: ssh starts"


class Stamp:
    """An ssh that answers `-G` as the real one, and else notes the time and ends."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stamp = lab.client.directory / "stamp"
        self.script = lab.client.directory / "stamping-ssh"
        self.script.write_text(
            "#!/bin/bash\n"
            f'[ "$1" != -G ] || exec {shlex.join(lab.client.ssh)} "$@"\n'
            f"[ -s {shlex.quote(os.fspath(self._stamp))} ] || "
            f"printf %s $EPOCHREALTIME > {shlex.quote(os.fspath(self._stamp))}\n"
            f"echo {shlex.quote(MARK)} >&2\n"
        )
        self.script.chmod(0o755)
        # PYTHONUNBUFFERED and its like are the caller's business; the script is what `[ssh] command` would name.
        self.env = {**lab.env, "NSSH_SSH": os.fspath(self.script)}

    def until(self, *argv: str, alone: bool = True) -> float:
        """Return the seconds from the start of a program until it starts ssh."""
        self._stamp.write_bytes(b"")
        begun = time.time()
        self.run(*argv)
        if alone:
            self._lab.settle()
        return float(self._stamp.read_text()) - begun

    def whole(self, *argv: str) -> float:
        """Return the seconds that a program takes as a whole."""
        begun = time.time()
        self.run(*argv)
        return time.time() - begun

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program that needs no input."""
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
