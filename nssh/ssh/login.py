"""One ssh login that the user sees and may answer: it runs a framed script and leaves a control socket behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nssh.base import spawn
from nssh.ssh import framing

if TYPE_CHECKING:
    from nssh.ssh.framing import Answer, Script
    from nssh.ssh.identity import Target

# Seconds that a master we made outlives its last user: long enough for a bridge that is being restarted.
PERSIST = 20


def control_options(target: Target, control_path: str, *, keep_alive: bool = False) -> list[str]:
    """Return the options with which an ssh of the session offers, or uses, the control socket.

    The user's own ControlPath wins: then only a missing ControlMaster is added.

    Args:
        target: Who is logged in to.
        control_path: Our private path; `` means that there is none.
        keep_alive: Notice a dead link: for connections that carry no terminal, where ending late helps nobody.
    """
    options = ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"] if keep_alive else []
    if target.control_path:
        if target.first("controlmaster", "false") in {"false", "no"}:
            options += ["-o", "ControlMaster=auto"]
        if target.first("controlpersist", "no") in {"no", "false"}:
            options += ["-o", f"ControlPersist={PERSIST}"]
    elif control_path:
        options += ["-o", "ControlMaster=auto", "-o", f"ControlPath={_escape(control_path)}"]
        options += ["-o", f"ControlPersist={PERSIST}"]
    return options


def _escape(path: str) -> str:
    """Protect what ssh would expand (%) or split (blanks) in a ControlPath."""
    return '"' + path.replace("%", "%%") + '"'


class Login:
    """An ssh on the user's terminal that runs `framing.BOOTSTRAP`; the script travels on its stdin."""

    def __init__(self, target: Target, script: Script, options: list[str]) -> None:
        """Start it.

        Raises:
            OSError: ssh can't be started.
        """
        # -T comes last: it takes back a -t of the user's, which is for the session, not for a script.
        argv = [*target.ssh, *options, "-o", "RemoteCommand=none", *target.options, "-T", "--", target.destination]
        stdin, feed = os.pipe()
        self._output, stdout = os.pipe()
        try:
            self.pid = spawn.start([*argv, framing.BOOTSTRAP], stdin=stdin, stdout=stdout)
        finally:
            os.close(stdin)
            os.close(stdout)
        self._reader = framing.Reader(script.marker)
        # A pipe holds 64 KiB (16 on macOS) before it blocks, and a script is well below that: ssh need not read yet.
        try:
            os.write(feed, script.stdin)
        except BrokenPipeError:
            pass  # ssh has ended already: `read` meets the end, and its status tells
        finally:
            os.close(feed)

    def fileno(self) -> int:
        """The end of ssh's output, for select."""
        return self._output

    def read(self) -> Answer | None:
        """Take what has arrived, once there is something; return the script's answer when it is complete.

        Raises:
            EOFError: ssh ended without an answer (it has said why on the terminal).
            RemoteError: The remote sends without end.
        """
        data = os.read(self._output, 65536)
        if not data:
            raise EOFError
        return self._reader.feed(data)

    @property
    def noise(self) -> str:
        """The last line the remote wrote instead of an answer."""
        return (self._reader.noise.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:200]

    def close(self) -> None:
        """Stop listening; ssh itself ends with its remote command."""
        os.close(self._output)


def run(target: Target, script: Script, control_path: str) -> tuple[int, Answer | None]:
    """Log in, wait for the script's answer and for ssh's end; return its exit code and the answer, if there was one.

    For commands that need no terminal of their own (`nssh infect`); the launcher waits in its own loop instead.

    Raises:
        OSError: ssh can't be started.
        RemoteError: The remote sends without end.
    """
    login = Login(target, script, control_options(target, control_path, keep_alive=True))
    answer = None
    try:
        while answer is None:
            answer = login.read()
    except EOFError:
        pass  # the exit code tells
    finally:
        login.close()
    return spawn.exit_code(os.waitpid(login.pid, 0)[1]), answer
