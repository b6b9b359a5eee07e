"""Log in once, on the user's terminal, where ssh may ask: run a framed script, and leave a control socket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nssh.base import spawn
from nssh.ssh import framing

if TYPE_CHECKING:
    from nssh.ssh.framing import Answer, Script
    from nssh.ssh.identity import Target

# ControlPersist of masters that we start, in seconds: long enough for a bridge to be restarted.
PERSIST = 20


def control_options(target: Target, control_path: str, *, keep_alive: bool = False) -> list[str]:
    """Return ssh options that create or use the control socket of the session.

    The user's own ControlPath is used if there is one: then only ControlMaster and ControlPersist are added if missing.

    Args:
        target: The host.
        control_path: Our private path; empty for no control socket.
        keep_alive: Make ssh notice a dead link, for logins that carry no terminal.
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
    """Quote a ControlPath, in which ssh expands % and splits at blanks."""
    return '"' + path.replace("%", "%%") + '"'


class Login:
    """A running ssh on the user's terminal, with `framing.BOOTSTRAP` as its command and the script on its stdin.

    Attributes:
        pid: Of ssh, a child of this process.
    """

    def __init__(self, target: Target, script: Script, options: list[str]) -> None:
        """Start ssh, and write the script to its stdin.

        Raises:
            OSError: ssh can't be started.
        """
        # -T comes last: it overrides a -t of the user's, which is meant for the session.
        argv = [*target.ssh, *options, "-o", "RemoteCommand=none", *target.options, "-T", "--", target.destination]
        stdin, feed = os.pipe()
        self._output, stdout = os.pipe()
        try:
            self.pid = spawn.start([*argv, framing.BOOTSTRAP], stdin=stdin, stdout=stdout)
        finally:
            os.close(stdin)
            os.close(stdout)
        self._reader = framing.AnswerReader(script.marker)
        # This does not block: a pipe takes 64 KiB (macOS: 16) before anybody reads, and scripts are smaller.
        try:
            os.write(feed, script.stdin)
        except BrokenPipeError:
            pass  # ssh has ended already: `read` finds the end of its output
        finally:
            os.close(feed)

    def fileno(self) -> int:
        """Return the descriptor of ssh's output, for select."""
        return self._output

    def read(self) -> Answer | None:
        """Wait for output; return the script's answer if it is complete now, else None.

        Raises:
            EOFError: ssh ended without an answer, and has told the user why on the terminal.
            RemoteError: More than 1 MiB arrived without an answer.
        """
        data = os.read(self._output, 65536)
        if not data:
            raise EOFError
        return self._reader.feed(data)

    @property
    def noise(self) -> str:
        """The last line that the remote wrote before any answer, at most 200 characters."""
        return (self._reader.noise.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:200]

    def close(self) -> None:
        """Stop reading; ssh ends when its remote command does."""
        os.close(self._output)


def run(target: Target, script: Script, control_path: str) -> tuple[int, Answer | None]:
    """Log in, run the script, and wait for ssh's end; return ssh's exit code, and the answer or None.

    `nssh infect` uses it. The launcher has signals to handle meanwhile, and waits in a loop of its own.

    Raises:
        OSError: ssh can't be started.
        RemoteError: More than 1 MiB arrived without an answer.
    """
    login = Login(target, script, control_options(target, control_path, keep_alive=True))
    answer = None
    try:
        while answer is None:
            answer = login.read()
    except EOFError:
        pass  # the caller sees the exit code
    finally:
        login.close()
    return spawn.exit_code(os.waitpid(login.pid, 0)[1]), answer
