"""`nssh sweep` on a remote: on every interpreter, and what its prompt understands. More in tests/sweep."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.mosh.mosh_servers import ClientState, MoshServer
from nssh.mosh.swept_host import ServerEntry, SweptHost
from nssh.remote import sweep, sweep_question, usage
from nssh.remote.failure import UseRealTool
from nssh.sweep import sweep_options
from tests.lab.system import require
from tests.lab.terminal import Terminal
from tests.lab.waiting import until
from tests.remote.support import Home, Interpreter, interpreters

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda interpreter: interpreter.version)
def test_one_is_listed_chosen_and_ended_on_every_interpreter(interpreter: Interpreter, tmp_path: Path) -> None:
    """By its PID: other tests' servers are of the same account."""
    require("mosh-server")
    with Home(interpreter.path) as home:
        home.infect()
        environ = {**home.env, "PATH": f"{home.env['PATH']}:/usr/bin:/bin"}
        started = subprocess.run(
            ["mosh-server", "new", "-i", "127.0.0.1", "-c", "256", "-l", "LANG=C.UTF-8"], env=environ,
            capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        found = re.search(r"detached, pid = ([0-9]+)", started.stdout + started.stderr)
        assert found, started
        server = psutil.Process(int(found[1]))
        try:
            (host,) = json.loads(home.run("nssh", "sweep", "--json", env=environ).out)
            (one,) = [one for one in host["servers"] if one["pid"] == server.pid]
            assert (host["error"], one["state"], one["spared"]) == (None, "never connected", "too young")
            with Terminal([f"{home.bin}/nssh", "sweep", "--min-age", "0"], environ, columns=120) as window:
                window.expect(b"for none: ")
                window.send(b"%d\r" % server.pid)
                assert window.wait() == 0
                assert re.search(rb"(?m)^\S+ +%d .* ended\r$" % server.pid, window.output)
            until(lambda: not server.is_running())
        finally:
            if server.is_running():
                server.kill()


def test_a_machine_whose_processes_can_t_be_listed_is_one_line(tmp_path: Path) -> None:
    with Home() as home:
        home.infect()
        (script,) = home.data.glob("lib-*/nssh/mosh/list_servers.sh")
        for text, reason in (("finish 7\n", "failed with status 7"), ("say now soon\n", "makes no sense")):
            script.write_text(text)
            ran = home.run("nssh", "sweep", "--json")
            assert ran.status == 1
            (host,) = json.loads(ran.out)
            assert reason in host["error"]
            assert ran.err == f"nssh: {host['error']}\n"
        script.unlink()
        ran = home.run("nssh", "sweep", "--all")
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, b"", 1)


# The command line and the prompt.


def entries(*servers: tuple[int, float, ClientState, str]) -> list[ServerEntry]:
    host = SweptHost("devbox")
    return [
        ServerEntry(host, MoshServer(pid, "1", age, state), wanted=False, spared=spared)
        for pid, age, state, spared in servers
    ]


OLD = sweep_question.OLD
LIST = entries(
    (10, OLD + 1, ClientState.DETACHED, ""),
    (20, OLD, ClientState.UNKNOWN, ""),
    (30, 90.0, ClientState.DETACHED, ""),
    (40, OLD + 1, ClientState.DETACHED, "you are in it"),
)


@pytest.mark.parametrize(
    ("answer", "pids"),
    [
        ("10", [10]), ("30 10", [10, 30]), ("30,10", [10, 30]), (" 10 , 30 ,", [10, 30]), ("10 10", [10]),
        ("all", [10, 20, 30]), ("A", [10, 20, 30]), ("old", [10]), ("o", [10]), ("older", [10]), ("Old, 20", [10, 20]),
        ("detached", [10, 30]), ("d", [10, 30]),
        ("", []), ("   ", []), (",", []), ("q", []), ("Q", []), ("quit", []), ("cancel", []), ("c", []),
    ],
)  # fmt: skip
def test_an_answer(answer: str, pids: list[int]) -> None:
    chosen, problem = sweep_question.understand(answer, LIST)
    assert ([entry.server.pid for entry in chosen], problem) == (pids, "")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("11", "11 is no PID in the list"),
        ("10 x", "x is no PID in the list"),
        ("q 10", "q is no PID in the list"),
        ("010", "010 is no PID in the list"),
        ("10-30", "10-30 is no PID in the list"),
        ("\x1b[A", "\x1b[a is no PID in the list"),
        ("10 40", "PID 40 is spared: you are in it"),
    ],
)
def test_an_answer_with_a_mistake_chooses_nothing(answer: str, problem: str) -> None:
    assert sweep_question.understand(answer, LIST) == ([], problem)


def test_a_word_for_none_of_them_is_a_mistake() -> None:
    young = entries((10, 1.0, ClientState.UNKNOWN, ""))
    assert sweep_question.understand("old", young) == ([], "none is older than 24 h")
    assert sweep_question.understand("detached", young) == ([], "none is detached")
    assert sweep_question.understand("all", entries((10, 1.0, ClientState.UNKNOWN, "x"))) == ([], "all are spared")


@given(st.text() | st.lists(st.sampled_from(["10", "20", "40", "all", "old", "d", ",", "q", "x"])).map(" ".join))
def test_no_answer_chooses_one_that_is_spared(answer: str) -> None:
    chosen, problem = sweep_question.understand(answer, LIST)
    assert not any(entry.spared for entry in chosen)
    assert not (chosen and problem)


@given(st.lists(st.sampled_from(["--all", "--older", "1h", "--detached", "--min-age=5s", "--json", "--yes", "--x", "-a",
                                 "--older=9w", "--dry-run", "--", "host", "--include-mine=1", "é"])))  # fmt: skip
def test_a_command_line_is_a_wish_or_wrong(words: list[str]) -> None:
    try:
        wish = sweep.read(words)
    except UseRealTool:
        return
    assert not (wish.every and (wish.detached or wish.older is not None))


def test_options_are_told_as_on_the_laptop() -> None:
    """The same options, in the same words; but for hosts there is no time limit to give."""

    def told(text: str) -> list[str]:
        return re.findall(r"(?m)^  (--.+(?:\n {8,}.+)*)", text)

    laptop = [" ".join(one.split()) for one in told(sweep_options.parser().format_help())]
    remote = [" ".join(one.split()) for one in told(usage.text("sweep"))]
    assert [one for one in laptop if not one.startswith("--timeout")] == remote
