from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from nssh.base import spawn

if TYPE_CHECKING:
    from pathlib import Path


def output(*argv: str, session: bool = False) -> bytes:
    """Start a program with its output into a pipe and return what it wrote."""
    reader, writer = os.pipe()
    pid = spawn.start(argv, stdout=writer, session=session)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    return data


# Run in a process of its own that has all signals as the launcher has them.
SIGNALS = """\
import os, signal, sys
from nssh.base import spawn
names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGXFSZ", "SIGTSTP", "SIGCONT", "SIGWINCH", "SIGCHLD")
for name in names:
    signal.signal(getattr(signal, name), signal.SIG_IGN if sys.argv[1] == "ignored" else lambda *_: None)
pid = spawn.start(["cat", "/proc/self/status"])
try:
    os.waitpid(pid, 0)
except ChildProcessError:
    pass  # with SIGCHLD ignored nobody needs to wait, and this returns when the child is gone
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="/proc tells which signals a process ignores")
@pytest.mark.parametrize("how", ["ignored", "handled"])
def test_signals_are_back_at_their_default(how: str) -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALS, how], capture_output=True, text=True, check=True)
    told = dict(line.split(":\t") for line in done.stdout.splitlines() if line.startswith(("Sig", "Shd")))
    for mask in ("SigIgn", "SigCgt", "SigBlk"):
        # Only real-time signals that the C library keeps for itself may be left.
        assert int(told[mask], 16) & ((1 << 31) - 1) == 0


def test_a_child_is_ended_by_a_broken_pipe() -> None:
    """Python ignores SIGPIPE; a program that inherited that would go on writing to nobody."""
    reader, writer = os.pipe()
    pid = spawn.start(["yes"], stdout=writer)
    os.close(writer)
    os.close(reader)
    assert spawn.exit_code(os.waitpid(pid, 0)[1]) == 128 + signal.SIGPIPE


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="/proc tells which files a process has open")
def test_a_child_has_the_three_files_and_no_other(tmp_path: Path) -> None:
    def inheritable(number: str) -> bool:
        with contextlib.suppress(OSError):  # the one that was used to list them
            return os.get_inheritable(int(number))
        return False

    # Whoever started these tests may have left something open for every child.
    given = {number.encode() for number in os.listdir("/proc/self/fd") if inheritable(number)}
    with contextlib.ExitStack() as stack:
        for number in range(20):
            stack.enter_context((tmp_path / str(number)).open("w"))
        # The one more is the directory that ls reads.
        assert len(set(output("ls", "/proc/self/fd").split()) - given - {b"0", b"1", b"2"}) == 1


def test_files_are_where_they_were_wanted(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("input")
    with (
        (tmp_path / "in").open() as stdin,
        (tmp_path / "out").open("w") as stdout,
        (tmp_path / "err").open("w") as stderr,
    ):
        pid = spawn.start(
            ["sh", "-c", "cat; echo error >&2"], stdin=stdin.fileno(), stdout=stdout.fileno(), stderr=stderr.fileno()
        )
        assert os.waitpid(pid, 0)[1] == 0
    assert ((tmp_path / "out").read_text(), (tmp_path / "err").read_text()) == ("input", "error\n")


def test_one_file_for_both_outputs() -> None:
    reader, writer = os.pipe()
    pid = spawn.start(["sh", "-c", "echo a; echo b >&2"], stdout=writer, stderr=writer)
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "a\nb\n"
    os.waitpid(pid, 0)


def test_the_environment_is_ours_or_the_one_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSSH_TEST", "ours")
    assert b"NSSH_TEST=ours" in output("env")
    reader, writer = os.pipe()
    pid = spawn.start(["env"], stdout=writer, environ={"A": "b c", "PATH": os.environ["PATH"]})
    os.close(writer)
    with os.fdopen(reader) as file:
        assert sorted(file.read().splitlines()) == sorted(["A=b c", f"PATH={os.environ['PATH']}"])
    os.waitpid(pid, 0)


def test_arguments_arrive_as_they_are() -> None:
    words = ["a b", "", "$HOME", "'\"", "\n", "*", "-n", "\udcff"]
    assert output("printf", "%s\\0", *words) == b"".join(os.fsencode(word) + b"\0" for word in words)


def test_a_session_of_its_own() -> None:
    code = "import os; print(os.getsid(0) == os.getpid())"
    assert output(sys.executable, "-c", code, session=True) == b"True\n"
    assert output(sys.executable, "-c", code) == b"False\n"


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize("name", ["nssh-no-such-program", "/nonexistent/program"])
def test_a_program_that_is_not_there_is_told_and_leaves_nothing_open(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A directory of the PATH that can't be searched would make it a PermissionError, as exec(3) has it.
    monkeypatch.setenv("PATH", str(tmp_path))
    before = os.listdir("/dev/fd")
    others = children()  # of tests that ran before in this process
    for call in (spawn.start, spawn.capture):
        with pytest.raises(FileNotFoundError):
            call([name])
    assert len(os.listdir("/dev/fd")) == len(before)
    assert children() == others


@pytest.mark.parametrize("kind", ["directory", "plain file"])
def test_what_can_not_be_run_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "program"
    path.mkdir() if kind == "directory" else path.write_text("text")
    with pytest.raises(PermissionError):
        spawn.start([str(path)])


@pytest.mark.parametrize("status", [0, 1, 126, 255])
def test_an_exit_status_is_itself(status: int) -> None:
    assert spawn.capture(["sh", "-c", f"exit {status}"]) == (status, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_is_told_as_a_shell_tells_it(number: int) -> None:
    assert spawn.capture(["sh", "-c", f"kill -{int(number)} $$"])[0] == 128 + number


def test_output_is_captured_and_errors_only_if_wanted() -> None:
    script = ["sh", "-c", "cat; printf out; printf err >&2; exit 3"]
    assert spawn.capture(script) == (3, b"out")
    assert spawn.capture(script, merge_stderr=True) == (3, b"outerr")


@pytest.mark.parametrize("limit", [0, 1, 1000, 100_000])
def test_captured_output_has_a_limit_and_the_program_runs_to_its_end(limit: int) -> None:
    status, data = spawn.capture(["sh", "-c", "head -c 3000000 /dev/zero; exit 7"], limit=limit)
    assert status == 7
    assert len(data) <= limit
    assert len(spawn.capture(["head", "-c", "3000000", "/dev/zero"], limit=3_000_000)[1]) == 3_000_000


def test_a_capture_leaves_nothing_open() -> None:
    before = len(os.listdir("/dev/fd"))
    spawn.capture(["true"])
    assert len(os.listdir("/dev/fd")) == before
