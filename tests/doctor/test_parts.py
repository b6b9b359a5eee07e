"""The parts, on answers that nobody should give: a hostile remote, nonsense, chatter without end, secrets."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import ConnectError, RemoteError
from nssh.config.settings import Config
from nssh.doctor import check_laptop, remote_facts, report, step_order
from nssh.doctor.check_remote import compare
from nssh.doctor.doctor_options import DoctorOptions
from nssh.doctor.remote_helper import RemoteHelper
from nssh.doctor.report import Found, Result, StepOutcome
from nssh.doctor.step_runner import Examination, NotTried, Step, go
from nssh.install import deploy
from nssh.ssh import framing
from tests.remote.support import Home, Interpreter, interpreters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nssh.ssh.connection import Channel, Completed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("nssh", "state", "session", "paths", "python", "relay", "on_path", "desktop")


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_whatever_a_remote_answers_is_facts_or_one_error(answer: dict[str, Any]) -> None:
    try:
        found = remote_facts.read(answer)
    except RemoteError:
        return
    assert all(isinstance(one.shell, str) for one in found.shells)


INNER = st.sampled_from(
    ["line", "problem", "ms", "foreign", "lacking", "mode", "path", "there", "mine", "server", "topic", "overridden",
     "unusable", "shell", "way", "answered", "shadows", "missing", "behind", "advice"]
)  # fmt: skip
TABLE = st.dictionaries(INNER, JSON)


@given(TABLE, TABLE, TABLE, st.lists(TABLE, max_size=3))
def test_whatever_stands_inside_is_taken_or_left(
    nssh: dict[str, Any], state: dict[str, Any], session: dict[str, Any], paths: list[dict[str, Any]]
) -> None:
    remote_facts.read({"nssh": nssh, "state": state, "session": session, "paths": paths})


class Remote:
    """A connection and its only stream: answers what it is told to, whatever it is asked."""

    name = "fake"

    def __init__(self, answer: Callable[[bytes], bytes], *, for_ever: bytes = b"") -> None:
        self._answer = answer
        self._for_ever = for_ever
        self._mark = b""
        self._waiting = b""

    def open_stream(self, command: str, *, timeout: float = 15.0) -> Channel:
        del command, timeout
        return self

    def sendall(self, data: bytes) -> None:
        if not self._mark:
            # The script's size, the script, the marker: see `nssh.ssh.framing.pack`.
            size, _, rest = data.partition(b"\n")
            self._mark = rest[int(size) :].lstrip(b"\n").partition(b"\n")[0]
            self._waiting += b"\n%s begin\nready 1\n" % self._mark
        else:
            self._waiting += self._answer(self._mark)

    def recv(self, size: int) -> bytes:
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data or self._for_ever

    def settimeout(self, seconds: float | None) -> None: ...

    def send_eof(self) -> None: ...

    def close(self) -> None: ...

    def fileno(self) -> int:
        raise NotImplementedError

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0, limit: int = 1 << 20) -> Completed:
        raise NotImplementedError

    def open_port(self, host: str, port: int, *, timeout: float = 15.0) -> Channel:
        raise NotImplementedError

    def put(self, data: bytes, path: str, *, timeout: float = 60.0) -> None:
        raise NotImplementedError

    def alive(self) -> bool:
        return True


def test_an_answer_is_taken_and_an_error_is_raised() -> None:
    answers = iter([b'noise\nanswer {"a": 1}\n', b'answer {"error": "no \\u001b[2J"}\n'])
    helper = RemoteHelper(Remote(lambda _: next(answers)), "doctor-x", 5)
    assert helper.ask({"do": "facts"}, 5) == {"a": 1}
    with pytest.raises(RemoteError, match=r"^no \?\[2J$"):
        helper.ask({"do": "facts"}, 5)
    helper.finish(1)


@pytest.mark.parametrize(
    "answer", [b"answer nonsense\n", b"answer [1]\n", b"answer " + b"[" * 100_000 + b"\n", b"answer \n"]
)
def test_nonsense_is_one_error(answer: bytes) -> None:
    helper = RemoteHelper(Remote(lambda _: answer), "doctor-x", 5)
    with pytest.raises(RemoteError):
        helper.ask({"do": "facts"}, 5)


def test_an_end_without_an_answer_says_what_was_said() -> None:
    helper = RemoteHelper(Remote(lambda mark: b"\n%s end 1\n" % mark), "doctor-x", 5)
    with pytest.raises(RemoteError, match="ended early"):
        helper.ask({"do": "facts"}, 5)


@pytest.mark.parametrize("for_ever", [b"x", b"x\n", b"answer", b"ready 1\n"])
def test_chatter_without_end_ends_by_the_deadline_or_the_limit(for_ever: bytes) -> None:
    helper = RemoteHelper(Remote(lambda _: b"", for_ever=for_ever), "doctor-x", 5)
    started = time.monotonic()
    with pytest.raises((RemoteError, ConnectError)):
        helper.ask({"do": "facts"}, 0.5)
    helper.finish(0.5)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda one: str(one.version))
def test_the_remote_half_runs_on_every_python(interpreter: Interpreter) -> None:
    with Home(interpreter.path) as home:
        script = deploy.script("nssh.remote.doctor", {"name": "doctor-x", "files": deploy.payload().files})
        orders = [
            {"do": "facts", "salt": "s"},
            {"do": "session", "server": "relay", "topic": "nssh_t", "token": "", "features": ["types"]},
            {"do": "run", "persona": "xclip", "arguments": [], "input": ""},
            {"do": "reach", "server": "http://127.0.0.1:1"},
            {"do": "no such thing"},
        ]
        stdin = script.stdin + b"".join(json.dumps(order).encode() + b"\n" for order in orders)
        before = sorted(home.path.rglob("*"))
        done = subprocess.run(["/bin/sh", "-c", framing.BOOTSTRAP], input=stdin, capture_output=True, env=home.env,
                              timeout=100, check=True)  # fmt: skip
        said = framing.unpack(script, done.stdout)
        answers = [json.loads(line.partition(" ")[2]) for line in said.lines if line.startswith("answer ")]
        assert remote_facts.read(answers[0]).python_version.startswith(interpreter.version)
        assert answers[1] == {}
        assert "xclip is missing" in answers[2]["error"]
        assert all("error" in answer for answer in answers[2:])
        assert len(answers) == len(orders)
        assert said.status == 0
        assert sorted(home.path.rglob("*")) == before


# Going from step to step.


@pytest.mark.parametrize("server", ["relay", "https://ntfy.example.com"])
def test_the_steps_are_those_of_the_documentation_in_its_order(server: str) -> None:
    text = (
        (Path(__file__).parents[2] / "docs/doctor.md")
        .read_text()
        .partition("## The steps")[2]
        .partition("## `--json`")[0]
    )
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    told = [word.strip("` ") for row in rows for word in row.split(",")]
    exam = Examination(DoctorOptions("devbox"))
    exam.config = Config(server=server)
    steps = list(step_order.steps(exam))
    assert [step.name for step in steps] == [name for name in told if name in {step.name for step in steps}]
    other = {"relay"} if server != "relay" else {"bus-from-remote", "bus-clock"}
    assert set(told) - {step.name for step in steps} == other
    done: set[str] = set()
    for step in steps:
        assert set(step.needs) <= done, f"{step.name} needs what comes behind it"
        done.add(step.name)


def raising(error: Exception) -> Callable[[Examination], Result]:
    def look(_: Examination) -> Result:
        raise error

    return look


def fine(_: Examination) -> Result:
    return report.ok("fine")


def test_what_depends_on_a_fault_is_not_tried_and_names_it() -> None:
    steps = [
        Step("a", (), fine),
        Step("b", ("a",), raising(RemoteError("broken"))),
        Step("c", ("b",), fine),
        Step("d", ("c",), fine),
        Step("e", ("a",), raising(NotTried("nothing to do"))),
        Step("f", ("e",), fine),
        Step("g", (), raising(KeyError("x"))),
        Step("h", ("a",), lambda _: report.warning("limits")),
        Step("i", ("h",), fine),
    ]
    found = dict(go(Examination(DoctorOptions("devbox")), steps))
    assert [result.state.value for result in found.values()] == [
        "ok", "failed", "skipped", "skipped", "skipped", "skipped", "failed", "warning", "ok"
    ]  # fmt: skip
    assert found["d"].text == "not tried: see b"
    assert found["f"].text == "not tried: see e"
    assert "please report it" in found["g"].advice
    assert not report.succeeded([Found(*one) for one in found.items()])


def test_secrets_are_blotted_out_whoever_says_them() -> None:
    exam = Examination(DoctorOptions("devbox"))
    exam.config = Config(token="tk_abc", topic="nssh_fixed")
    exam.topic = "nssh_own"
    look = raising(RemoteError("xdg-open: tk_abc nssh_own nssh_fixed"))
    ((_, result),) = go(exam, [Step("a", (), look)])
    assert result.text == "xdg-open: … … …"


def test_what_is_shown_can_not_steer_a_terminal() -> None:
    found = Found("a", Result(StepOutcome.FAILED, "x\x1b[2J\n" * 500, "y\x07", 0.5))
    shown = report.lines(found)
    assert len(shown) == 2
    assert all(line.isprintable() and len(line) < 500 for line in shown)
    told = json.loads(report.as_json("devbox", "k", [found]))
    assert told["ok"] is False
    assert told["steps"][0]["text"].isprintable()


def test_what_one_thing_kept_from_being_tried_is_one_line_and_the_rest_comes_at_once() -> None:
    def skipped(name: str, cause: str) -> Found:
        return Found(name, Result(StepOutcome.SKIPPED, f"not tried: see {cause}"))

    def steps() -> Iterator[Found]:
        yield Found("a", report.failed("broken", "mend it"))
        assert [line.split() for line in told] == [["WRONG", "a", "broken"], ["→", "mend", "it"]]
        yield from (skipped("b", "a"), skipped("c", "a"), skipped("d", "b"), Found("e", report.ok("fine")))

    told: list[str] = []
    for line in report.told(steps()):
        told.append(line)  # noqa: PERF402  (the steps look at it meanwhile)
    assert [line.split() for line in told[2:]] == [
        ["-", "2", "steps", "not", "tried:", "see", "a"], ["-", "d", "not", "tried:", "see", "b"], ["ok", "e", "fine"]
    ]  # fmt: skip


def test_a_full_disk_is_not_told_as_a_missing_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path))
    (tmp_path / "nssh").mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    found = check_laptop.state_directory(Examination(DoctorOptions("devbox")))
    assert found.state is StepOutcome.FAILED
    assert "room" in found.advice


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="desktops of Linux")
@pytest.mark.parametrize(
    ("name", "value", "state"), [("", "", "warning"), ("DISPLAY", ":0", "ok"), ("BROWSER", "opener", "ok")]
)
def test_a_browser_without_a_desktop_is_a_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, state: str
) -> None:
    for tool in ("xdg-open", "opener"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    for variable in ("WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME", "BROWSER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    if name:
        monkeypatch.setenv(name, value)
    exam = Examination(DoctorOptions("devbox"))
    exam.config = Config()
    assert check_laptop.browser(exam).state.value == state


@pytest.mark.parametrize(
    ("theirs", "state"),
    [
        (1000, "ok"),
        (1002, "ok"),
        (998, "ok"),
        (1003, "warning"),
        (997, "warning"),
        (1060, "warning"),
        (939, "warning"),
        (1061, "failed"),
        (938, "failed"),
    ],
)
def test_clocks_are_judged_by_what_can_be_known(theirs: int, state: str) -> None:
    """They tell whole seconds, some time between 1000.0 and 1000.5."""
    assert compare(theirs, 1000.0, 1000.5, "devbox").state == state


def test_a_slow_link_is_no_skewed_clock() -> None:
    assert compare(1005, 1000.0, 1010.0, "devbox").state == "ok"
