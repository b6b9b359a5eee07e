from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base import process
from nssh.log.event_line import Renderer, hide_topic, parse
from nssh.state import session_records
from nssh.state.session_records import Record
from nssh.wire import files
from tests.lab.terminal import Terminal
from tests.lab.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202e\x00"
TAIL = (sys.executable, "-m", "nssh", "status", "--tail")


class Tail:
    """`nssh status --tail` into a pipe."""

    def __init__(self, *options: str) -> None:
        reader, writer = os.pipe()
        self.process = subprocess.Popen(
            [*TAIL, *options], stdout=writer, stderr=subprocess.PIPE, env={**os.environ, "TZ": "UTC"}
        )
        os.close(writer)
        self.output = os.fdopen(reader, "rb")

    def line(self) -> str:
        return self.output.readline().decode()

    def events(self, count: int) -> list[str]:
        return [self.line().split()[3] for _ in range(count)]


@pytest.fixture
def tail(state: Path) -> Iterator[Callable[..., Tail]]:
    started: list[Tail] = []

    def start(*options: str) -> Tail:
        started.append(Tail(*options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()
        one.output.close()


@pytest.fixture
def live(state: Path) -> Iterator[Callable[..., Path]]:
    """Make sessions that live: a process, a record, a log; ended at the end, or by `end`."""
    with contextlib.ExitStack() as stack:

        def start(target: str = "devbox", log: Path | None = None, **fields: Any) -> Path:
            child = stack.enter_context(subprocess.Popen(["sleep", "1000"]))
            stack.callback(child.kill)
            path = log or Path(files.make_private_dir(str(state / "logs"))) / f"20260701-{child.pid}.jsonl"
            basis = Record(child.pid, target, target, "nssh_x", "relay", "2026-07-01T10:00:00Z", str(path))
            session_records.write(basis._replace(birth=process.birth(child.pid), **fields))
            return path

        yield start


def event(name: object, ts: str = "2026-07-01T10:00:00.123456Z", **fields: object) -> bytes:
    return json.dumps({"ts": ts, "event": f"e{name}", **fields}).encode() + b"\n"


def ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()


def append(path: Path, *data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(b"".join(data))


def harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


# Which logs, and when.


def test_what_is_there_what_comes_and_rotations(tail: Callable[..., Tail], live: Callable[..., Path]) -> None:
    log = live()
    append(log, event(0, kind="open", url="https://x", side="session", pid=7))
    following = tail()
    assert following.line() == (
        "07-01 10:00:00.123 devbox   e0               kind=open url=https://x side=session pid=7\n"
    )
    append(log, event(1)[:10])
    append(log, event(1)[10:] + event(2))
    assert following.events(2) == ["e1", "e2"]
    # Rotated between two looks, with lines before and after, and the new file longer than the old one was.
    append(log, event(3))
    log.rename(f"{log}.1")
    append(log, *(event(number) for number in range(4, 20)))
    assert following.events(17) == [f"e{number}" for number in range(3, 20)]


def test_only_the_last_events_of_a_long_session_are_shown_first(
    tail: Callable[..., Tail], live: Callable[..., Path]
) -> None:
    append(live(), *(event(number) for number in range(500)))
    assert tail().events(10) == [f"e{number}" for number in range(490, 500)]


def test_sessions_of_all_kinds_are_followed(
    tail: Callable[..., Tail], live: Callable[..., Path], state: Path, tmp_path: Path
) -> None:
    """Leader, stand-by, one with a log elsewhere; a sweep and a session that ended before we looked."""
    logs = [live("leader", role="leader"), live("standby", role="standby"), live("else", log=tmp_path / "go.log")]
    ended, old = state / "logs/20260701-1.jsonl", state / "logs/20250701-2.jsonl"
    append(ended, event("ended"))
    append(old, event("old"))
    os.utime(old, (0, 0))
    for number, log in enumerate(logs):
        append(log, event(number, ts=f"2026-07-01T10:00:0{number}Z"))
    following = tail()
    assert [following.line().split()[2:4] for _ in logs] == [["leader", "e0"], ["standby", "e1"], ["else", "e2"]]
    # One that had ended and says one more thing, and its log was not shown: from where it had been.
    append(ended, event("last"))
    assert following.events(1) == ["elast"]
    # A session that starts and ends before we look; its name is in its log.
    append(state / "logs/short-3.jsonl", event("x").replace(b'"ex"', b'"session-start"')[:-2] + b', "target": "t3"}\n')
    assert following.line().split()[2:4] == ["t3", "session-start"]
    append(state / "logs/sweep-4.jsonl", event("swept"))
    assert following.line().split()[2:4] == ["sweep-4", "eswept"]
    # One that starts later, with a log that was rotated before we saw it.
    late = live("late")
    append(Path(f"{late}.1"), event("first"))
    append(late, event("second"))
    assert following.events(2) == ["efirst", "esecond"]
    # One that ends: what it wrote last is shown.
    for path in (state / "sessions").glob("*.json"):
        path.unlink()
    append(late, event("end"))
    assert following.events(1) == ["eend"]
    append(tmp_path / "go.log", event("goend"))
    assert following.events(1) == ["egoend"]


@pytest.mark.parametrize("target", ["devbox", ""])
def test_the_go_programs_events_are_shown_without_its_topic(
    tail: Callable[..., Tail], live: Callable[..., Path], state: Path, target: str
) -> None:
    topic = "nssh_aaaabbbbccccddddeeee"
    log = live(target, log=state / f"nssh.{topic}.jsonl")
    (path,) = (state / "sessions").glob("*.json")
    ours = {"birth", "topic"}
    go = {key: value for key, value in json.loads(path.read_text()).items() if key not in ours} | {"topic": topic}
    path.write_text(json.dumps(go | {"started": "2036-07-01T10:00:00.123456789Z"}))
    error = f'Get "https://ntfy.sh/{topic}/json": EOF'
    time = "2026-07-01T10:00:00.123456789Z"
    append(log, event(1, ts=time, topic=topic, err=error, args=[topic, 7], exit=0), f"no event of {topic}\n".encode())
    following = tail()
    shown = following.line() + following.line()
    assert topic not in shown
    assert [
        shown.count(part) for part in (f" {target or f'pid {path.stem}'} (Go) ", "10:00:00.123", "no event of")
    ] == [2, 1, 1]
    told = json.loads(tail("--json").line())
    assert (told["err"], told["args"]) == (error.replace(topic, "(topic)"), ["(topic)", 7])
    assert (told["ts"], told["exit"], "topic" in told) == (time, 0, False)


@given(st.binary(max_size=60), st.sampled_from(["a", "ts", "nssh_x", '"', "", "e1"]))
def test_hiding_a_topic_never_fails_and_keeps_the_time(noise: bytes, topic: str) -> None:
    hide_topic(noise, topic)
    line = event("1", err=noise.decode("latin-1"), topic=topic)
    fields = parse(hide_topic(line, topic))
    assert fields is not None
    assert fields["ts"] == "2026-07-01T10:00:00.123456Z"
    assert topic == "" or topic in "(topic)" or topic not in fields["err"]


def test_nothing_there_yet(tail: Callable[..., Tail], live: Callable[..., Path]) -> None:
    following = tail()
    assert following.process.stderr is not None
    assert following.process.stderr.readline() == b"no live sessions; waiting for one (Ctrl-C ends)\n"
    append(live(), event(7))
    assert following.events(1) == ["e7"]


def test_since_shows_what_was_before_in_the_order_of_time_and_goes_on(
    tail: Callable[..., Tail], live: Callable[..., Path], state: Path
) -> None:
    one, two, ended = live("one"), live("two"), state / "logs/ended.jsonl"
    append(one, event("old", ago(3000)), event(1, ago(500)), event(4, ago(200)))
    append(two, event("old", ago(700)), event(2, ago(400)))
    append(ended, event("old", ago(900)), event(3, ago(300)))
    following = tail("--since", "10m")
    assert following.events(4) == ["e1", "e2", "e3", "e4"]
    append(two, event(5, ago(9000)))
    assert following.events(1) == ["e5"], "whatever the clock says"


def test_since_over_the_logs_of_many_sessions(tail: Callable[..., Tail], state: Path) -> None:
    directory = Path(files.make_private_dir(str(state / "logs")))
    for number in range(1500):
        append(directory / f"{number}.jsonl", event(number, ago(10_000 - number)))
    assert tail("--since=1d").events(1500) == [f"e{number}" for number in range(1500)]


@pytest.mark.parametrize(
    "options",
    [
        ["--tail", "--since"],
        ["--tail", "--since", "soon"],
        ["--tail", "--since="],
        ["--tail", "--since", "-5m"],
        ["--since", "10m"],
        ["--json", "--since", "10m"],
        ["--tail", "--held"],
    ],
)
def test_wrong_usage_is_status_2(state: Path, options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nssh", "status", *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nssh: ")


def test_events_as_json_for_programs(tail: Callable[..., Tail], live: Callable[..., Path]) -> None:
    log = live()
    append(log, event(1, err=HOSTILE), b"no event\n", event(2, new={"a": [1]}))
    following = tail("--json")
    first, second = following.line(), following.line()
    assert harmless(first)
    assert json.loads(first) == json.loads(event(1, err=HOSTILE))
    assert json.loads(second) == json.loads(event(2, new={"a": [1]}))


# How it looks.


def test_every_field_is_shown_also_those_of_later_versions() -> None:
    fields = {
        "ts": "2026-07-01T10:00:00Z", "event": "subscribe-up", "side": "session", "pid": 7, "reconnect": True,
        "empty": "", "words": "two words", "equals": "a=b", "list": [1, "x y"], "none": None, "size": 0,
        "nested": {"k": 1.5}, "umlaut": "ü",
    }  # fmt: skip
    shown = Renderer(colour=False).render("devbox", json.dumps(fields).encode(), fields)
    assert shown.split(" ", 2)[2] == (
        'devbox   subscribe-up     reconnect=true empty="" words="two words" equals="a=b" list=[1, "x y"] none=null '
        'size=0 nested={"k": 1.5} umlaut=ü side=session pid=7'
    )


def test_columns_stay_aligned_with_names_of_any_length() -> None:
    renderer = Renderer(colour=False)
    line = event(1)
    shown = [renderer.render(name, line, parse(line)) for name in ("a", "x" * 100, "b")]
    assert [one.index(" e1") for one in shown] == [27, 43, 43]


def test_an_event_without_a_time_or_a_name_is_shown_as_it_is() -> None:
    fields: dict[str, Any] = {"ts": "at noon, they say", "odd\x1bkey": 1}
    shown = Renderer(colour=False).render("devbox", json.dumps(fields).encode(), fields)
    assert shown.split() == ["devbox", "?", 'ts="at', "noon,", "they", 'say"', "odd?key=1"]


def test_it_can_not_be_steered(tail: Callable[..., Tail], live: Callable[..., Path]) -> None:
    odd = [
        event(1, err=HOSTILE),
        event(HOSTILE),
        json.dumps({HOSTILE: HOSTILE, "ts": HOSTILE}).encode() + b"\n",
        HOSTILE.encode().replace(b"\n", b"") + b"\n",
        b"[1]\n",
        b'{"ts": 1, "event": {}}\n',
        b"\xff\n",
        b"[" * 99999 + b"\n",
        b"{" * (1 << 20) + b"\n",
    ]
    log = live(HOSTILE)
    append(log, *odd)
    following = tail("--since", "1000w")
    append(log, event(2))
    lines = [following.line() for _ in range(len(odd) + 1)]
    assert all(harmless(line) for line in lines)
    assert max(map(len, lines)) < 5000
    assert " e2 " in lines[-1]


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_terminals_that_want_it(
    live: Callable[..., Path], environ: dict[str, str], *, coloured: bool
) -> None:
    append(live(), event("-failed"))
    base = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with Terminal(TAIL, {**base, "TERM": "xterm", **environ}) as window:
        window.expect(b"e-failed")
        window.expect(b"\n")
        assert (b"\x1b[" in window.output) is coloured
        window.send(b"\x03")
        assert window.wait() == 130


# How it ends.


def test_it_ends_when_its_reader_is_gone_though_nothing_happens(
    tail: Callable[..., Tail], live: Callable[..., Path]
) -> None:
    append(live(), event(1))
    following = tail()
    assert following.events(1) == ["e1"]
    following.output.close()
    assert following.process.wait(30) in {0, 141}
    assert following.process.stderr is not None
    assert following.process.stderr.read() == b""


def test_it_ends_with_ctrl_c(tail: Callable[..., Tail]) -> None:
    following = tail()
    assert following.process.stderr is not None
    following.process.stderr.readline()
    following.process.send_signal(signal.SIGINT)
    assert following.process.wait(30) == 130
    assert following.process.stderr.read() == b""


def test_it_holds_no_file_of_a_session_that_ended_long_ago(
    live: Callable[..., Path], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nssh.log import tail

    monkeypatch.setattr(tail, "_KEEP_OPEN", 0.0)
    log = Path(files.make_private_dir(str(state / "logs"))) / "gone.jsonl"
    follower = tail.LogFollower(None)
    follower.look()
    append(log, event(1))
    follower.look()
    assert [line for _, line in follower.events()] == [event(1)[:-1]]
    follower.look()
    assert follower._followed == {}
    assert list(follower.events()) == []
    append(log, event(2))
    follower.look()
    until(lambda: [line for _, line in follower.events()] == [event(2)[:-1]])
