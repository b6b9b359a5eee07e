"""Find out which of the user's shells find the shims before the real tools, and which line to add where one does not.

Each shell is started with its start-up files, and asked for its PATH. The files are never edited.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import time

from nssh.remote import go_program, stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DEADLINE = 5.0

LOGIN = "login"
INTERACTIVE = "interactive"
COMMAND = "command"
"""The ways in which a shell is started: by a login with a terminal, in a window of tmux, by `ssh host command`."""


class ShellProbe:
    """A running shell, started in one of these ways, that prints its PATH.

    Attributes:
        path: The PATH that it printed; empty until then.
    """

    def __init__(self, shell: str, way: str, path: str = "") -> None:
        login, interactive = way == LOGIN, way != COMMAND
        self.shell = shell
        self.name = os.path.basename(shell)
        self.interactive = interactive
        self.login = login
        self.path = ""
        self._mark = b"nssh-" + os.urandom(9).hex().encode()
        self._seen = b""
        # sh, bash, zsh, fish and tcsh read this alike; the marker tells the answer from output of start-up files.
        command = 'exec /bin/sh -c \'printf "\\n%s %s\\n" "$0" "$PATH"\' ' + self._mark.decode()
        # sshd and login start a login shell with a dash before argv[0]; beside -c, tcsh knows no other way.
        argv = ["-" + self.name if login else self.name, *(["-i"] if interactive else []), "-c", command]
        environ = {k: v for k, v in os.environ.items() if k not in ("ENV", "BASH_ENV", "SHLVL")}
        environ.update(SHELL=shell, TERM="dumb")
        if path:
            environ["PATH"] = path
        environ.setdefault("SSH_CLIENT", "127.0.0.1 0 22")  # otherwise bash reads no ~/.bashrc for a command
        # In a session of its own the shell has no terminal to stop for, and can be killed with all its children.
        self.process = subprocess.Popen(
            argv, executable=shell, env=environ, cwd=os.path.expanduser("~"), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def fileno(self) -> int:
        """Return the descriptor of the shell's output, for select."""
        assert self.process.stdout is not None  # noqa: S101 (for the type checker: it is a pipe)
        return self.process.stdout.fileno()

    def read(self) -> bool:
        """Read output; return whether the PATH is known now, or the output has ended."""
        data = os.read(self.fileno(), 65536)
        self._seen = self._seen[-65536:] + data
        line = self._seen.partition(b"\n" + self._mark + b" ")[2]
        if b"\n" in line:
            self.path = os.fsdecode(line.partition(b"\n")[0])
        return bool(self.path) or not data

    def close(self) -> None:
        """End the shell and all that its start-up files have started."""
        if self.process.stdout is not None:
            self.process.stdout.close()
        try:
            self.process.wait(0.2 if self.path else 0)
        except subprocess.TimeoutExpired:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self.process.kill()
            self.process.wait()


def warnings(bin_dir: str, deadline: float = _DEADLINE) -> list[str]:
    """Return a warning for each of the user's shells that does not find the shims first.

    The shells run at the same time, for `deadline` seconds at most.
    """
    lines = []
    for probe in ask([(shell, way, "") for shell in shells() for way in (LOGIN, COMMAND)], deadline):
        line = _judge(probe, bin_dir)
        if line and line not in lines:
            lines.append(line)
    return lines


def ask(wanted: Sequence[tuple[str, str, str]], deadline: float = _DEADLINE) -> list[ShellProbe]:
    """Ask shells for their PATH, and return the ended probes; one without an answer has an empty `path`.

    Args:
        wanted: For each probe the shell, the way to start it, and the PATH to start it with (empty: our own).
        deadline: Seconds; the shells run at the same time.
    """
    probes = []
    for shell, way, path in wanted:
        try:
            probes.append(ShellProbe(shell, way, path))
        except OSError:  # noqa: PERF203
            continue  # a shell in passwd that can't be started is no matter of the PATH
    waiting = list(probes)
    end = time.monotonic() + deadline
    try:
        while waiting and time.monotonic() < end:
            ready = select.select(waiting, [], [], max(0.0, end - time.monotonic()))[0]
            waiting = [probe for probe in waiting if probe not in ready or not probe.read()]
    finally:
        for probe in probes:
            probe.close()
    return probes


def shells() -> list[str]:
    """Return the login shell, and bash if that is another one and installed: programs are started by these."""
    login = pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh"
    found = [login]
    for shell in ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"):
        if os.path.basename(login) != "bash" and os.access(shell, os.X_OK):
            found.append(shell)
            break
    return [shell for shell in found if os.path.basename(shell) not in ("nologin", "false")]


def is_shim(path: str) -> bool:
    """Return whether a program is a shim of ours, or one of the Go program's."""
    return stub.is_ours(path) or go_program.is_shim(path)


def which(name: str, path: str) -> str:
    """Return the program that a shell with this PATH runs for `name`; empty if there is none."""
    for directory in path.split(os.pathsep):
        candidate = os.path.join(directory, name)
        if directory.startswith("/") and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return ""


def _judge(probe: ShellProbe, bin_dir: str) -> str:
    shown = "~" + bin_dir[len(os.path.expanduser("~")) :] if bin_dir.startswith(os.path.expanduser("~")) else bin_dir
    when = "a login with " + probe.name if probe.interactive else "a command given to ssh (run by %s)" % probe.name
    if not probe.path:
        return "could not see which PATH %s has: %s gave no answer" % (when, probe.shell)
    first = [which(name, probe.path) for name in stub.PERSONAS]
    passed = [path for path in first if path and not stub.is_ours(path)]
    if all(first) and not passed:
        return ""
    advice = advice_for(probe)
    if not advice:
        return ""
    what = "finds %s first" % passed[0] if passed else "does not look in " + shown
    return "%s %s; %s" % (when, what, advice)


def advice_for(probe: ShellProbe) -> str:
    """Return which line to add to which file; empty if no start-up file of the user applies."""
    home = os.path.expanduser("~")
    if probe.name == "fish":
        return "add to ~/.config/fish/config.fish: fish_add_path --move --path ~/.local/bin"
    if probe.name in ("tcsh", "csh"):
        own = ".cshrc" if probe.name == "csh" or not os.path.exists(os.path.join(home, ".tcshrc")) else ".tcshrc"
        return 'add to ~/%s: setenv PATH "$HOME/.local/bin:$PATH"' % own
    line = 'export PATH="$HOME/.local/bin:$PATH"'
    if probe.name == "zsh":
        return "add to ~/%s: %s" % (".zshrc" if probe.interactive else ".zshenv", line)
    if probe.name == "bash" and not probe.login:
        # For a command, bash reads ~/.bashrc below sshd. Debian's returns early unless interactive: so the first line.
        where = "to the end" if probe.interactive else "as the first line"
        return "add %s of ~/.bashrc: %s" % (where, line)
    if probe.name == "bash":
        for name in (".bash_profile", ".bash_login"):
            if os.path.exists(os.path.join(home, name)):
                return "add to the end of ~/%s: %s" % (name, line)
    # Other shells read no start-up file for a command.
    return "add to the end of ~/.profile: " + line if probe.login else ""
