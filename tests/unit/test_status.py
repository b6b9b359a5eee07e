from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nssh.base import process
from nssh.config.settings import Config
from nssh.meeting import liveness
from nssh.state import held_urls, session_records
from nssh.state.held_urls import HeldUrl
from nssh.state.session_records import Record
from nssh.wire import files
from tests.lab import ntfy
from tests.lab.waiting import until
from tests.unit.test_liveness import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202e\x00"
SECRET = "nssh_aaaabbbbccccddddeeee"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives: the launcher of a session, as far as its record is concerned."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        yield child
        child.kill()


def record(pid: int, **fields: Any) -> Record:
    basis = Record(pid, "devbox", "devbox", SECRET, "relay", "2020-01-01T00:00:00Z", "", birth=process.birth(pid))
    made = basis._replace(**fields)
    session_records.write(made)
    return made


def run(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nssh", "status", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environ},
    )


def harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def test_nothing_runs(state: Path) -> None:
    assert run().stdout == "no live sessions\n"
    assert json.loads(run("--json").stdout) == []
    assert run("--held").stdout == "nothing is held\n"
    assert run("--open-held").returncode == 0
    assert not state.exists()


def test_the_table(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    record(
        sleeper.pid, key="me@devbox:22", transport="mosh", role="leader", bus="up", restarts=2, actor_restarts=1, held=3
    )
    lines = run().stdout.splitlines()
    assert lines[0] == "devbox  (me@devbox:22)"
    assert f"pid {sleeper.pid}, mosh, leader, up " in lines[1]
    assert lines[2:4] == [
        "  bus relay up, does not answer: it has no control socket, bridge restarted 2×, actors restarted 1×",
        "  3 URLs held: nssh status --held lists them, --open-held opens the held ones",
    ]


def go_record(pid: int, **fields: Any) -> None:
    """Write a record as the Go program does: its log's name holds the topic."""
    log = f"/x/nssh.{SECRET}.jsonl"
    record = {"pid": pid, "target": "me@10.0.0.5", "host": "10", "topic": SECRET, "server": "https://ntfy.sh",
              "started": "2036-07-01T10:00:00.123456789Z", "log": log}  # fmt: skip
    (Path(session_records.directory()) / f"{pid}.json").write_text(json.dumps(record | fields))


def test_a_session_of_the_go_program_is_shown_for_what_it_is(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    go_record(sleeper.pid)
    done = run(TZ="UTC")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "me@10.0.0.5  (the Go program's, host 10)",
        f"  pid {sleeper.pid}, up 0s, since 2036-07-01 10:00",
        "  bus https://ntfy.sh, not asked: this machine's server is relay",
        "  its record does not tell user, port, transport, state of the bus and restarts",
    ]
    [told] = json.loads(run("--json").stdout)
    assert (told["program"], told["target"], told["host"], told["log"]) == ("go", "me@10.0.0.5", "10", "")
    assert (told["state"], told["alive"], told["transport"], told["bus"]) == ("unknown", None, "", "")


def test_no_secret_of_the_go_programs_is_told_and_none_of_its_texts_steers(
    state: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    go_record(sleeper.pid, server="https://me:pass@ntfy.example")
    for option in ((), ("--json",)):
        output = run(*option).stdout
        assert "https://ntfy.example" in output
        for secret in (SECRET, "pass"):
            assert secret not in output
    go_record(sleeper.pid, target=HOSTILE, host=HOSTILE, server=HOSTILE, started=HOSTILE)
    done = run()
    assert harmless(done.stdout)
    assert "nobody knows since when" in done.stdout.splitlines()[1]
    assert len(done.stdout.splitlines()) == 4


def test_a_configuration_that_can_not_be_read_is_told_and_the_session_shown(
    state: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    config = Path(files.config_dir())
    config.mkdir(parents=True)
    (config / "config.toml").write_text("sever = 1\n")
    record(sleeper.pid)
    assert run().stderr == "", "not needed for a session of ours"
    go_record(sleeper.pid)
    done = run()
    assert done.stderr.startswith("nssh: ")
    assert done.stderr.count("\n") == 1
    assert "  bus https://ntfy.sh, not asked" in done.stdout.splitlines()


@pytest.mark.real
def test_a_session_of_the_go_program_is_asked_over_its_topic(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    ntfy.require_ntfy()
    with ntfy.running() as server:
        config = Path(files.config_dir())
        config.mkdir(parents=True)
        (config / "config.toml").write_text(f'server = "{server.url}"\n')
        go_record(sleeper.pid, server=server.url)
        peer = Peer(Config(server.url), SECRET, answers=True)
        line = run().stdout.splitlines()[2]
        assert re.fullmatch(rf"  bus {re.escape(server.url)}, answers in \d+ ms", line)
        peer.close()
        assert run().stdout.splitlines()[2] == f"  bus {server.url}, does not answer"
        [told] = json.loads(run("--json").stdout)
        assert (told["state"], told["alive"]) == ("wedged", False)
    assert run().stdout.splitlines()[2].startswith(f"  bus {server.url}, answers, but its bus is down")


def test_no_secret_is_told(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    made = record(sleeper.pid, socket="/nonexistent/secret.sock")
    for option in ((), ("--json",)):
        done = run(*option)
        assert done.returncode == 0
        for secret in (SECRET, made.birth, "secret.sock"):
            assert secret not in done.stdout + done.stderr
    [told] = json.loads(run("--json").stdout)
    assert (told["pid"], told["alive"], told["target"]) == (sleeper.pid, False, "devbox")
    assert told["uptime"] > 10**8


def test_a_hostile_record_can_not_steer_the_terminal(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    texts = dict.fromkeys(("target", "host", "server", "key", "role", "transport", "bus", "problem"), HOSTILE)
    record(sleeper.pid, **texts, started=HOSTILE, held=1)
    for option in ((), ("--json",)):
        done = run(*option)
        assert (done.returncode, done.stderr) == (0, "")
        assert harmless(done.stdout)
    assert json.loads(run("--json").stdout)[0]["problem"] == HOSTILE
    assert len(run().stdout.splitlines()) == 5


# The control socket.


# What a program reads.


def documented() -> dict[str, tuple[type, ...]]:
    """The fields of `nssh status --json` and their types, as docs/protocol.md tells them."""
    page = (Path(__file__).parents[2] / "docs/protocol.md").read_text()
    section = page.partition("### `nssh status --json`")[2].partition("The control socket")[0]
    types = {"string": (str,), "integer": (int,), "number": (int, float), "boolean or null": (bool, type(None))}
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \| \S.* \|$", section, re.MULTILINE)
    assert len(rows) == section.count("\n| `")
    return {name: types[kind] for name, kind in rows}


def test_json_tells_what_is_documented_in_these_types_and_nothing_else(
    state: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    record(
        sleeper.pid, role="leader", bus="up", held=2, problem="x", lost="y", lost_at="2026-07-01T10:00:00Z", bridge=7
    )
    expected = documented()
    (full,) = json.loads(run("--json").stdout)
    Path(session_records.path_of(sleeper.pid)).write_text(
        json.dumps({"pid": sleeper.pid, "started": "2036-07-01T10:00:00Z"})
    )
    (bare,) = json.loads(run("--json").stdout)
    for told in (full, bare):
        assert told.keys() == expected.keys()
        for name, value in told.items():
            assert type(value) in expected[name], name
    assert (full["lost"], full["alive"], full["state"], bare["alive"]) == ("y", False, "wedged", None)


def test_what_was_lost_is_told_for_a_day(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    for ago, told in (
        (60, True),
        (-3600, True),
        (session_records.LOST_TOLD - 60, True),
        (session_records.LOST_TOLD + 1, False),
    ):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
        record(sleeper.pid, lost="something", lost_at=at)
        assert ("  lost: something" in run().stdout.splitlines()) is told


def test_a_hundred_wedged_sessions_cost_two_seconds(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Each has a socket that takes the connection and says nothing; one PID for all, which only a test can have."""
    directory = tempfile.mkdtemp(prefix="nssh-", dir="/tmp")
    basis = Record(sleeper.pid, "devbox", "devbox", SECRET, "relay", "2020-01-01T00:00:00Z", "", birth="")
    try:
        with contextlib.ExitStack() as stack:
            found = []
            for number in range(100):
                server = stack.enter_context(socket.socket(socket.AF_UNIX))
                server.bind(f"{directory}/{number}")
                server.listen()
                found.append(basis._replace(key="k", birth=process.birth(sleeper.pid), socket=f"{directory}/{number}"))
            begun = time.monotonic()
            answers = liveness.probe_all(found)
            seconds = time.monotonic() - begun
        assert [answer.state for answer in answers] == [liveness.SessionState.WEDGED] * 100
        print(f"100 wedged sessions: {seconds:.2f} s")  # noqa: T201  (shown with -rP)
        assert seconds < 6, "at once, not one after the other (which would take 150 s)"
    finally:
        shutil.rmtree(directory)


# What is held.


def hold(state: Path, *urls: HeldUrl) -> str:
    directory = files.make_private_dir(str(state / "topics"))
    path = os.path.join(directory, "me@devbox+relay.x.held")
    for url in urls:
        held_urls.add(path, url)
    return path


def test_held_urls_are_listed_and_can_not_steer_the_terminal(state: Path) -> None:
    hold(state, HeldUrl("https://a.example/" + HOSTILE, 1_700_000_000), HeldUrl("https://b.example", 1 << 40))
    done = run("--held", TZ="UTC")
    assert (done.returncode, done.stderr) == (0, "")
    assert harmless(done.stdout)
    first, second = done.stdout.splitlines()
    assert first.startswith("2023-11-14 22:13  held               https://a.example/?")
    assert second == f"{1 << 40:<16}  held               https://b.example"


def test_a_terminal_without_utf_8_is_shown_escapes(state: Path) -> None:
    hold(state, HeldUrl("https://a.example/caf\u00e9\u2026", 1_700_000_000))
    done = run("--held", TZ="UTC", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2023-11-14 22:13  held               https://a.example/caf\\xe9\\u2026\n"


def browser(state: Path, body: str) -> Path:
    config = Path(files.config_dir())
    config.mkdir(parents=True)
    script = config / "browser"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    (config / "config.toml").write_text(f'[browser]\ncommand = "{script}"\n')
    return config


def test_held_urls_are_opened_once_in_order(state: Path) -> None:
    opened = browser(state, 'printf "%s\\n" "$1" >> "${0%/*}/opened"') / "opened"
    path = hold(state, *(HeldUrl(f"https://a.example/{number}", number) for number in range(3)))
    done = run("--open-held")
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: opened.exists() and len(opened.read_text().splitlines()) == 3)
    assert sorted(opened.read_text().splitlines()) == [f"https://a.example/{number}" for number in range(3)]
    assert not os.path.exists(path)
    assert run("--held").stdout == "nothing is held\n"


def test_found_urls_are_shown_for_what_they_are_and_never_opened(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    opened = browser(state, 'printf "%s\\n" "$1" >> "${0%/*}/opened"') / "opened"
    sent = 1_700_000_000
    hold(state, *(HeldUrl(f"https://found.example/{number}", sent, found=True) for number in range(3)))
    record(sleeper.pid, serial="x")
    assert run().stdout.splitlines()[3] == "  3 URLs found, not opened: nssh status --held lists them"
    hold(state, HeldUrl("https://held.example/", sent))
    record(sleeper.pid, serial="x", held=1)
    line = "  1 URL held, and 3 found: nssh status --held lists them, --open-held opens the held ones"
    assert run().stdout.splitlines()[3] == line
    [told] = json.loads(run("--json").stdout)
    assert (told["held"], told["found"]) == (1, 3)
    listed = [f"2023-11-14 22:13  found, not opened  https://found.example/{number}" for number in range(3)]
    both = [*listed, "2023-11-14 22:13  held               https://held.example/"]
    assert run("--held", TZ="UTC").stdout.splitlines() == both
    for _ in range(2):
        done = run("--open-held")
        assert (done.returncode, done.stderr) == (0, "")
    until(lambda: opened.exists() and opened.read_text() == "https://held.example/\n")
    assert run("--held", TZ="UTC").stdout.splitlines() == listed


def test_a_session_that_does_not_listen_for_logins_holds_none_up_for_long(
    state: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    opened = browser(state, 'printf "%s\\n" "$1" >> "${0%/*}/opened"') / "opened"
    urls = [f"https://a.example/?r=http%3A%2F%2Flocalhost%3A{port}%2F" for port in range(2001, 2004)]
    hold(state, *(HeldUrl(url, 1) for url in urls))
    with tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp") as short, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{short}/s")
        silent.listen()
        record(sleeper.pid, role="leader", socket=f"{short}/s", serial="x")
        assert run("--open-held").returncode == 0
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()  # asked once, not for each
    until(lambda: opened.exists() and opened.read_text().split() == urls)


def test_what_could_not_be_opened_stays_and_what_never_will_does_not(state: Path) -> None:
    browser(state, "exit 1")
    path = hold(
        state, HeldUrl("https://a.example/", 1), HeldUrl("file:///etc/passwd", 2), HeldUrl("https://b.example/", 3)
    )
    done = run("--open-held", PATH="/nonexistent")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 3
    assert all(line.startswith("nssh: ") for line in done.stderr.splitlines())
    assert [one.url for one in held_urls.read(path)] == ["https://a.example/", "https://b.example/"]
