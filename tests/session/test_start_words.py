"""What nssh says on standard error before a session: which one it joins or replaces, ssh or mosh, and why."""

from __future__ import annotations

import re

import pytest

from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.terminal import Terminal
from tests.session.support import ANY_PROMPT, forget, settle, without_mosh

pytestmark = pytest.mark.real


def told(shown: bytes) -> list[str]:
    """Return the lines of nssh before the first prompt, without `nssh: `."""
    return [match.decode() for match in re.findall(rb"nssh: ([^\r\n]*)\r*\n", shown)]


def start_of(laptop: Laptop, *words: str) -> list[str]:
    """Open a session on a terminal, end it, and return what was said before the remote's prompt; nothing later."""
    with Terminal([*NSSH, *words], laptop.env) as window:
        prompt = window.expect(ANY_PROMPT)
        window.send(b"exit 3\r")
        window.wait()
        assert told(window.output[prompt.end() :]) == []
        topics = {record.topic for record in laptop.sessions()}
        assert not any(topic.encode() in window.output for topic in topics)
        return told(window.output[: prompt.end()])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--ssh", "devbox"], "using ssh: --ssh was given"),
        (["--mosh", "devbox"], "using mosh: --mosh was given"),
        (["devbox"], "using mosh: both sides have it"),
        (["devbox", "-t", "exec sh -i"], "using ssh: a command was given"),
    ],
)
@pytest.mark.parametrize("first", [False, True], ids=["known", "first connect"])
def test_ssh_or_mosh_and_why(laptop: Laptop, words: list[str], line: str, *, first: bool) -> None:
    if first:
        forget(laptop)
    assert start_of(laptop, *words) == [line]


def test_no_mosh_here(relay_laptop: Laptop) -> None:
    without_mosh(relay_laptop)
    assert start_of(relay_laptop, "devbox") == ["using ssh: mosh is not on this machine"]


def test_behind_a_jump_host(relay_laptop: Laptop) -> None:
    command = f"{relay_laptop.env['NSSH_SSH']} -W localhost:%p devbox"
    assert start_of(relay_laptop, "-o", f"ProxyCommand={command}", "devbox") == ["using ssh: a jump host is in the way"]


@pytest.mark.parametrize(
    "quiet",
    [["-q", "devbox"], ["devbox", "-q"], ["-tq", "devbox"], ["-4qA", "devbox"], ["-o", "LogLevel=QUIET", "devbox"],
     ["-oLogLevel=quiet", "devbox"], ["devbox", "-qo", "LogLevel=INFO"]],
)  # fmt: skip
def test_quiet_as_ssh_is(relay_laptop: Laptop, quiet: list[str]) -> None:
    assert start_of(relay_laptop, "--ssh", *quiet) == []


def test_quiet_over_mosh_and_in_a_script(relay_laptop: Laptop) -> None:
    assert start_of(relay_laptop, "--mosh", "-q", "devbox") == []
    with RemoteShell(relay_laptop):
        relay_laptop.wait_up()
        assert start_of(relay_laptop, "--mosh", "--join", "-q", "devbox") == []
        done = relay_laptop.run("-q", "devbox", "echo done")
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_joining_is_told_also_to_a_script_and_ssh_or_mosh_is_not(relay_laptop: Laptop) -> None:
    with RemoteShell(relay_laptop) as first:
        relay_laptop.wait_up()
        joining = f"joining the session to devbox (PID {first.pid})"
        assert start_of(relay_laptop, "--ssh", "--join", "devbox") == [joining, "using ssh: --ssh was given"]
        assert start_of(relay_laptop, "--join", "devbox") == [joining, "using mosh: both sides have it"]
        done = relay_laptop.run("devbox", "echo done")
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", f"nssh: {joining}\n")
        with Terminal([*NSSH, "devbox", "echo", "done"], relay_laptop.env) as window:
            assert window.wait() == 0
            assert window.output == f"nssh: {joining}\r\ndone\r\n".encode()


def test_a_script_without_another_session_hears_nothing(relay_laptop: Laptop) -> None:
    done = relay_laptop.run("devbox", "echo done")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_replacing_is_told(relay_laptop: Laptop) -> None:
    first = RemoteShell(relay_laptop)
    relay_laptop.wait_up()
    with Terminal([*NSSH, "--ssh", "--replace", "devbox"], relay_laptop.env) as window:
        prompt = window.expect(ANY_PROMPT)
        assert told(window.output[: prompt.end()]) == [
            f"replacing the session to devbox (PID {first.pid})",
            "using ssh: --ssh was given",
        ]
        window.send(b"exit\r")
        window.wait()
    first.close()


def test_replacing_several_is_one_line(relay_laptop: Laptop) -> None:
    shells = [RemoteShell(relay_laptop) for _ in range(2)]
    done = relay_laptop.run("--replace", "devbox", "true")
    pids = sorted(shell.pid for shell in shells)
    assert done.stderr == f"nssh: replacing the sessions to devbox (PIDs {pids[0]}, {pids[1]})\n"
    for shell in shells:
        shell.close()


@pytest.mark.parametrize("transport", ["--ssh", "--mosh"])
def test_the_answer_of_the_question_is_told_before_the_session(relay_laptop: Laptop, transport: str) -> None:
    with RemoteShell(relay_laptop) as first:
        relay_laptop.wait_up()
        with Terminal([*NSSH, transport, "devbox"], relay_laptop.env) as window:
            window.expect(b"connect to nothing")
            window.send(b"join\r")
            window.expect(f"nssh: joining the session to devbox (PID {first.pid})".encode())
            window.expect(f"nssh: using {transport[2:]}: {transport} was given".encode())
            settle(window)
            window.send(b"exit\r")
            assert window.wait() == 0
