"""What the tests of sessions share: a PATH of one's choosing, a remote shell to talk to, a laptop that forgets."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

from nssh.base import process
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import psutil

    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd
    from tests.lab.terminal import Terminal

PROMPT = b"ready> "
ANY_PROMPT = re.compile(rb"[$#%>] ")


def settle(window: Terminal) -> None:
    """Wait for the remote shell, whichever it is, and give it a prompt that nothing else looks like."""
    window.expect(ANY_PROMPT)
    window.send(b"PS1='ready''> '\r")
    window.expect(PROMPT)


def mosh_servers(remote: Sshd) -> list[psutil.Process]:
    """Return the mosh-servers that were started through this sshd."""
    return [process for process in remote.leftovers() if process.name() == "mosh-server"]


def directory_with(path: Path, programs: Iterable[str]) -> str:
    """Make a directory for the PATH with the named programs of this machine and no others, and return it."""
    path.mkdir(exist_ok=True, parents=True)
    for name in programs:
        program = shutil.which(name)
        assert program is not None, f"{name} is not on this machine"
        with contextlib.suppress(FileExistsError):
            (path / name).symlink_to(program)
    path.chmod(0o755)
    return os.fspath(path)


def gate(laptop: Laptop, path: Path) -> Path:
    """Have the laptop's logins wait until the file that is returned exists; what only asks ssh (-G) does not."""
    opened, script = path / "opened", path / "gated-ssh"
    script.write_text(
        f"""#!/bin/sh
        case " $* " in *" -G "*) ;; *) until [ -e {opened} ]; do sleep 0.02; done ;; esac
        exec {laptop.env["NSSH_SSH"]} "$@"
        """
    )
    script.chmod(0o755)
    laptop.env["NSSH_SSH"] = os.fspath(script)
    return opened


def without_mosh(laptop: Laptop) -> None:
    """Give the laptop a PATH with ssh and what a shell needs, and no mosh."""
    laptop.env["PATH"] = directory_with(laptop.client.home / "bin-without-mosh", ("ssh", "sh", "bash"))


def forget(laptop: Laptop) -> None:
    """Let the laptop know nothing of the remote: the next connect asks it first, in a login of its own."""
    for path in (laptop.state / "hosts").glob("*"):
        path.unlink()


def own_lines(shown: bytes) -> list[str]:
    """Return the lines that nssh itself has shown, without `nssh: `, and but for the one that tells ssh or mosh."""
    return [match.decode() for match in re.findall(rb"nssh: (?!using )([^\r\n]*)\r*\n", shown)]


def hold(pid: int, continued: list[int]) -> None:
    """Suspend a process; the fixture `continued` lets it go on when the test is over."""
    continued.append(pid)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: process.is_stopped(pid), "it is stopped")
