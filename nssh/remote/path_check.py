"""Which of the user's shells find the shims before the real tools, and the line to add where one does not.

Shells are asked, rc files and all, and never edited.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import time

from nssh.remote import stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DEADLINE = 5.0

LOGIN = "login"
INTERACTIVE = "interactive"
COMMAND = "command"
"""How a shell comes to run programs: for a login with a terminal, in a window of tmux, for `ssh host command`."""


class Question:
    """One shell, started in one of the ways in which it comes to run programs, that was asked for its PATH."""

    def __init__(self, shell: str, way: str, path: str = "") -> None:
        login, interactive = way == LOGIN, way != COMMAND
        self.shell = shell
        self.name = os.path.basename(shell)
        self.interactive = interactive
        self.login = login
        self.path = ""
        self._mark = b"nssh-" + os.urandom(9).hex().encode()
        self._seen = b""
        # Words and quotes that sh, bash, zsh, fish and tcsh read alike; the marker tells the answer from noise.
        command = 'exec /bin/sh -c \'printf "\\n%s %s\\n" "$0" "$PATH"\' ' + self._mark.decode()
        # A leading dash in argv[0] is how sshd and login start a login shell; tcsh knows no other way beside -c.
        argv = ["-" + self.name if login else self.name, *(["-i"] if interactive else []), "-c", command]
        environ = {k: v for k, v in os.environ.items() if k not in ("ENV", "BASH_ENV", "SHLVL")}
        environ.update(SHELL=shell, TERM="dumb")
        if path:
            environ["PATH"] = path
        environ.setdefault("SSH_CLIENT", "127.0.0.1 0 22")  # bash reads ~/.bashrc for a command only below sshd
        # A session of its own: no terminal to stop for, and rc files' leftovers can be ended together.
        self.process = subprocess.Popen(
            argv, executable=shell, env=environ, cwd=os.path.expanduser("~"), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def fileno(self) -> int:
        """Where the answer comes, for select."""
        assert self.process.stdout is not None  # noqa: S101 (for the type checker: it is a pipe)
        return self.process.stdout.fileno()

    def read(self) -> bool:
        """Take what there is to read; return whether that was all we wanted or will get."""
        data = os.read(self.fileno(), 65536)
        self._seen = self._seen[-65536:] + data
        line = self._seen.partition(b"\n" + self._mark + b" ")[2]
        if b"\n" in line:
            self.path = os.fsdecode(line.partition(b"\n")[0])
        return bool(self.path) or not data

    def close(self) -> None:
        """End it with all that its rc files started."""
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
    """Ask the login shell, and bash where there is one, for their PATH; return a line for each that misses the shims.

    Takes `deadline` seconds at most: the shells are asked side by side.
    """
    lines = []
    for question in ask([(shell, way, "") for shell in shells() for way in (LOGIN, COMMAND)], deadline):
        line = _judge(question, bin_dir)
        if line and line not in lines:
            lines.append(line)
    return lines


def ask(wanted: Sequence[tuple[str, str, str]], deadline: float = _DEADLINE) -> list[Question]:
    """Ask shells for their PATH, each with the way to start it and the PATH to start with (empty: ours).

    Takes `deadline` seconds at most: the shells are asked side by side.
    """
    questions = []
    for shell, way, path in wanted:
        try:
            questions.append(Question(shell, way, path))
        except OSError:  # noqa: PERF203
            continue  # a shell in passwd that can't be started concerns its login, not our PATH
    waiting = list(questions)
    end = time.monotonic() + deadline
    try:
        while waiting and time.monotonic() < end:
            ready = select.select(waiting, [], [], max(0.0, end - time.monotonic()))[0]
            waiting = [question for question in waiting if question not in ready or not question.read()]
    finally:
        for question in questions:
            question.close()
    return questions


def shells() -> list[str]:
    """Return the login shell, and bash if that is another one: those that programs of the user's are started by."""
    login = pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh"
    found = [login]
    for shell in ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"):
        if os.path.basename(login) != "bash" and os.access(shell, os.X_OK):
            found.append(shell)
            break
    return [shell for shell in found if os.path.basename(shell) not in ("nologin", "false")]


def which(name: str, path: str) -> str:
    """Return the program that a shell with this PATH would run for `name`, or nothing."""
    for directory in path.split(os.pathsep):
        candidate = os.path.join(directory, name)
        if directory.startswith("/") and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return ""


def _judge(question: Question, bin_dir: str) -> str:
    shown = "~" + bin_dir[len(os.path.expanduser("~")) :] if bin_dir.startswith(os.path.expanduser("~")) else bin_dir
    when = (
        "a login with " + question.name
        if question.interactive
        else "a command given to ssh (run by %s)" % question.name
    )
    if not question.path:
        return "could not see which PATH %s has: %s gave no answer" % (when, question.shell)
    first = [which(name, question.path) for name in stub.PERSONAS]
    passed = [path for path in first if path and not stub.is_ours(path)]
    if all(first) and not passed:
        return ""
    advice = advice_for(question)
    if not advice:
        return ""
    what = "finds %s first" % passed[0] if passed else "does not look in " + shown
    return "%s %s; %s" % (when, what, advice)


def advice_for(question: Question) -> str:
    """Name the file and the line to add to it; empty if no file of the user's could help."""
    home = os.path.expanduser("~")
    if question.name == "fish":
        return "add to ~/.config/fish/config.fish: fish_add_path --move --path ~/.local/bin"
    if question.name in ("tcsh", "csh"):
        own = ".cshrc" if question.name == "csh" or not os.path.exists(os.path.join(home, ".tcshrc")) else ".tcshrc"
        return 'add to ~/%s: setenv PATH "$HOME/.local/bin:$PATH"' % own
    line = 'export PATH="$HOME/.local/bin:$PATH"'
    if question.name == "zsh":
        return "add to ~/%s: %s" % (".zshrc" if question.interactive else ".zshenv", line)
    if question.name == "bash" and not question.login:
        # bash reads it when sshd starts it for a command; Debian's returns early unless interactive, hence the top.
        where = "to the end" if question.interactive else "as the first line"
        return "add %s of ~/.bashrc: %s" % (where, line)
    if question.name == "bash":
        for name in (".bash_profile", ".bash_login"):
            if os.path.exists(os.path.join(home, name)):
                return "add to the end of ~/%s: %s" % (name, line)
    # Other shells read no file of the user's for a command.
    return "add to the end of ~/.profile: " + line if question.login else ""
